"""The configuration that the tools behind the rules are built in."""

def _tool_transition_impl(settings, _attr):
    return {"//command_line_option:platforms": [settings["//command_line_option:host_platform"]]}

# For the machine that builds, and otherwise as everything else is built. `exec` would
# be a second configuration: the standard library, the SDK and all that a policy
# imports would be compiled once more, and kept once more.
tool_transition = transition(
    implementation = _tool_transition_impl,
    inputs = ["//command_line_option:host_platform"],
    outputs = ["//command_line_option:platforms"],
)

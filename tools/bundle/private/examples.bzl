"""Has every example of a bundle's policies make an instance."""

load("//tools/bundle:tool.bzl", "tool_transition")

def _policy_examples_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".ok")
    ctx.actions.run(
        executable = ctx.executable.program,
        arguments = [out.path],
        outputs = [out],
        mnemonic = "PolicyExamples",
        progress_message = "Trying the examples of %{label}",
    )
    return [
        DefaultInfo(files = depset([out])),
        OutputGroupInfo(_validation = depset([out])),
    ]

policy_examples = rule(
    implementation = _policy_examples_impl,
    doc = "Runs the program that makes an instance of each example, as a validation.",
    attrs = {
        "program": attr.label(
            executable = True,
            # It has to run here, whatever the bundle is built for.
            cfg = tool_transition,
            mandatory = True,
            doc = "The program that is generated from a bundle's policies.",
        ),
    },
)

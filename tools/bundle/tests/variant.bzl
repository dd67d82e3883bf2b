"""Builds a target a second time, with nothing shared but the sources."""

def _variant_transition_impl(_settings, attr):
    return {"//tools/bundle/tests:variant": attr.variant}

_variant_transition = transition(
    implementation = _variant_transition_impl,
    inputs = [],
    outputs = ["//tools/bundle/tests:variant"],
)

def _variant_flag_impl(_ctx):
    return []

variant_flag = rule(
    implementation = _variant_flag_impl,
    doc = "A build setting that nothing reads: it changes the configuration, and with it every output path.",
    build_setting = config.string(),
)

def _variant_impl(ctx):
    # In runfiles a file's path does not tell its configuration, so that the two
    # builds of one target would be one file: this one gets a path of its own.
    out = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.symlink(output = out, target_file = ctx.files.target[0])
    return [DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out]))]

variant = rule(
    implementation = _variant_impl,
    doc = "The directory that a target builds, built in a configuration of its own.",
    attrs = {
        "target": attr.label(
            cfg = _variant_transition,
            mandatory = True,
            doc = "What to build.",
        ),
        "variant": attr.string(
            mandatory = True,
            doc = "The name of the configuration.",
        ),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
            doc = "What Bazel asks of rules with a transition.",
        ),
    },
)

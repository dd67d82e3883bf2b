"""Tests of what the rules of bundles do before anything is built."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")

def _fails_impl(ctx):
    env = analysistest.begin(ctx)
    for message in ctx.attr.messages:
        asserts.expect_failure(env, message)
    return analysistest.end(env)

fails_test = analysistest.make(
    _fails_impl,
    expect_failure = True,
    attrs = {"messages": attr.string_list(doc = "What the failure has to say.")},
)

def _action(env, mnemonic):
    actions = [a for a in analysistest.target_actions(env) if a.mnemonic == mnemonic]
    asserts.equals(env, 1, len(actions), "actions called " + mnemonic)
    return actions[0]

def _data_of(action):
    """The inputs of an action less its tool and its parameters."""
    return sorted([
        f.basename
        for f in action.inputs.to_list()
        if f.extension != "params" and "builder_/builder" not in f.path and not f.basename.endswith("-runfiles")
    ])

def _registry_inputs_impl(ctx):
    env = analysistest.begin(ctx)
    asserts.equals(env, ctx.attr.inputs, _data_of(_action(env, "PolicyRegistry")))
    return analysistest.end(env)

# The registry is generated from what the validate step wrote, and nothing else.
registry_inputs_test = analysistest.make(
    _registry_inputs_impl,
    attrs = {"inputs": attr.string_list(doc = "The names of the files that the registry is generated from.")},
)

def _image_inputs_impl(ctx):
    env = analysistest.begin(ctx)
    asserts.equals(env, ctx.attr.inputs, _data_of(_action(env, "PolicyImage")))
    validations = analysistest.target_under_test(env)[OutputGroupInfo]._validation.to_list()
    asserts.equals(env, ctx.attr.validations, [f.basename for f in validations])
    return analysistest.end(env)

# The image holds the binary, and is validated by its examples.
image_inputs_test = analysistest.make(
    _image_inputs_impl,
    attrs = {
        "inputs": attr.string_list(doc = "The names of the files that the image is made from."),
        "validations": attr.string_list(doc = "The names of the files in the validation output group."),
    },
)

def _runs_here_impl(ctx):
    env = analysistest.begin(ctx)
    pushes = analysistest.target_under_test(env)[DefaultInfo]
    programs = [f for f in pushes.default_runfiles.files.to_list() if f.basename in ["crane", "jq", "oci"]]
    for action in analysistest.target_actions(env):
        if action.mnemonic == "ExecutableSymlink":
            programs += action.inputs.to_list()
    asserts.true(env, programs, "nothing pushes")
    for program in programs:
        # A file's root has the name of the configuration that it is built in.
        asserts.false(env, program.root.path == analysistest.target_bin_dir_path(env), program.path + " is built for arm64")
    return analysistest.end(env)

# An image for arm64 is pushed by programs for the machine that pushes.
runs_here_test = analysistest.make(
    _runs_here_impl,
    config_settings = {"//command_line_option:platforms": [str(Label("@rules_go//go/toolchain:linux_arm64"))]},
)

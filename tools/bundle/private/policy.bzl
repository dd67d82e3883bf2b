"""Finds and validates the policy.yaml of a policy's go_library."""

load("@rules_go//go:def.bzl", "GoInfo")
load("//tools/bundle:providers.bzl", "PolicyInfo")
load("//tools/bundle:tool.bzl", "tool_transition")

_DEFINITION = "policy.yaml"

def _definition_of(ctx, label):
    """The one policy.yaml of the go_library that the aspect looks at."""

    # A go_library's data is in none of its providers. A policy that comes as a
    # Go module has BUILD files from gazelle, which knows embedded files only.
    for name in ["data", "embedsrcs"]:
        files = [f for f in getattr(ctx.rule.files, name, []) if f.basename == _DEFINITION]
        if len(files) == 1:
            return files[0]
        if files:
            fail("{}: several policy.yaml among the {} of this go_library\n{}\nKeep the one of the version that the package is.".format(
                label,
                name,
                "\n".join(["  " + f.short_path for f in files]),
            ))
    fail(("{}: this go_library has no policy.yaml, so it is not a policy\n" +
          "Write one beside the code and add `data = [\"policy.yaml\"]`.\n" +
          "In a policy that comes as a Go module, write `//go:embed policy.yaml` above a variable, which gazelle turns into `embedsrcs`.").format(label))

def _policy_aspect_impl(target, ctx):
    definition = _definition_of(ctx, str(target.label).lstrip("@"))
    importpath = target[GoInfo].importpath
    validated = ctx.actions.declare_file(ctx.rule.attr.name + ".policy.json")

    args = ctx.actions.args()
    args.add("validate")
    args.add("--importpath", importpath)
    args.add("--definition", definition)
    args.add("--out", validated)
    args.set_param_file_format("multiline")
    args.use_param_file("@%s", use_always = True)
    ctx.actions.run(
        executable = ctx.executable._builder,
        arguments = [args],
        inputs = [definition],
        outputs = [validated],
        mnemonic = "PolicyValidate",
        progress_message = "Validating the definition of %{label}",
    )
    return [PolicyInfo(
        definition = definition,
        importpath = importpath,
        label = target.label,
        validated = validated,
    )]

policy_aspect = aspect(
    implementation = _policy_aspect_impl,
    doc = "Finds the policy.yaml of a go_library, among its `data` or else its `embedsrcs`, and validates it in an action. Gives a PolicyInfo.",
    required_providers = [GoInfo],
    attrs = {
        "_builder": attr.label(
            default = Label("//tools/builder"),
            executable = True,
            cfg = tool_transition,
            doc = "The tool behind the actions.",
        ),
    },
)

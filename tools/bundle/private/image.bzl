"""Writes the image of a bundle."""

load("//tools/bundle:providers.bzl", "PolicyBundleInfo")
load("//tools/bundle:tool.bzl", "tool_transition")

def _policy_image_impl(ctx):
    policies = ctx.attr.registry[PolicyBundleInfo].policies
    out = ctx.actions.declare_directory(ctx.label.name)

    args = ctx.actions.args()
    args.add("image")
    args.add("--bundle", ctx.attr.bundle)
    args.add("--binary", ctx.file.binary)
    args.add_all([p.validated for p in policies], before_each = "--policy")
    for key, value in sorted(ctx.attr.labels.items()):
        args.add("--label", "{}={}".format(key, value))
    args.add_all([out], before_each = "--out", expand_directories = False)
    args.set_param_file_format("multiline")
    args.use_param_file("@%s", use_always = True)
    ctx.actions.run(
        executable = ctx.executable._builder,
        arguments = [args],
        inputs = [ctx.file.binary] + [p.validated for p in policies],
        outputs = [out],
        mnemonic = "PolicyImage",
        progress_message = "Writing the image %{label}",
    )
    return [
        DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out])),
        OutputGroupInfo(_validation = depset(transitive = [
            check[OutputGroupInfo]._validation
            for check in ctx.attr.checks
        ])),
    ]

policy_image = rule(
    implementation = _policy_image_impl,
    doc = "Writes an OCI image layout with one image: the static binary of a bundle, and nothing else.",
    attrs = {
        "binary": attr.label(
            allow_single_file = True,
            mandatory = True,
            doc = "The static binary.",
        ),
        "bundle": attr.string(
            mandatory = True,
            doc = "The bundle's name.",
        ),
        "checks": attr.label_list(
            doc = "Targets whose validations are the image's too. --norun_validations switches them off.",
        ),
        "labels": attr.string_dict(
            doc = "Further labels of the image, and annotations of its manifest.",
        ),
        "registry": attr.label(
            providers = [PolicyBundleInfo],
            mandatory = True,
            doc = "The registry that the binary was built from.",
        ),
        "_builder": attr.label(
            default = Label("//tools/builder"),
            executable = True,
            cfg = tool_transition,
            doc = "The tool behind the action.",
        ),
    },
)

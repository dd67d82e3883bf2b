"""States what the image of a bundle was built from."""

load("@rules_go//go:def.bzl", "GoInfo")
load("//tools/bundle:providers.bzl", "PolicyBundleInfo")
load("//tools/bundle:tool.bzl", "tool_transition")
load(":linked.bzl", "LinkedInfo", "linked_aspect")

def _name_and_path(file):
    return "{}={}".format(file.short_path, file.path)

def _policy_provenance_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".json")
    sources = depset(
        [policy.definition for policy in ctx.attr.registry[PolicyBundleInfo].policies],
        transitive = [ctx.attr.linked[LinkedInfo].sources],
    )

    args = ctx.actions.args()
    args.add("provenance")
    args.add("--manifest", ctx.file.manifest)
    args.add_all([ctx.file.image], before_each = "--image", expand_directories = False)
    args.add("--builder", ctx.attr.builder_id)
    args.add("--sums", ctx.file.go_sum)
    args.add_all(sources, before_each = "--source", map_each = _name_and_path)
    args.add("--out", out)
    args.set_param_file_format("multiline")
    args.use_param_file("@%s", use_always = True)
    ctx.actions.run(
        executable = ctx.executable._builder,
        arguments = [args],
        inputs = depset([ctx.file.manifest, ctx.file.image, ctx.file.go_sum], transitive = [sources]),
        outputs = [out],
        mnemonic = "PolicyProvenance",
        progress_message = "Stating the provenance %{label}",
    )
    return [DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out]))]

policy_provenance = rule(
    implementation = _policy_provenance_impl,
    doc = "Writes an in-toto statement about an image, with a SLSA v1 provenance predicate.",
    attrs = {
        "builder_id": attr.string(
            mandatory = True,
            doc = "A URI that identifies who builds.",
        ),
        "go_sum": attr.label(
            allow_single_file = True,
            mandatory = True,
            doc = "The go.sum that has the linked modules.",
        ),
        "image": attr.label(
            allow_single_file = True,
            mandatory = True,
            doc = "The image, which is the subject.",
        ),
        "linked": attr.label(
            aspects = [linked_aspect],
            mandatory = True,
            providers = [GoInfo],
            doc = "The go_library whose deps are what the binary links.",
        ),
        "manifest": attr.label(
            allow_single_file = True,
            mandatory = True,
            doc = "The bundle's manifest.",
        ),
        "registry": attr.label(
            mandatory = True,
            providers = [PolicyBundleInfo],
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

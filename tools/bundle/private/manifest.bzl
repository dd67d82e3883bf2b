"""Writes the manifest of a bundle."""

load("@rules_go//go:def.bzl", "GoInfo")
load("//tools/bundle:providers.bzl", "PolicyBundleInfo", "PolicyInfo")
load("//tools/bundle:tool.bzl", "tool_transition")
load(":linked.bzl", "LinkedInfo", "linked_aspect")
load(":policy.bzl", "policy_aspect")

_GO = "@rules_go//go:toolchain"

def _policy_manifest_impl(ctx):
    policies = [policy[PolicyInfo] for policy in ctx.attr.policies]
    out = ctx.actions.declare_file(ctx.label.name + ".json")
    packages = ctx.actions.declare_file(ctx.label.name + "_packages.txt")

    lines = ctx.actions.args()
    lines.set_param_file_format("multiline")
    lines.add_all(ctx.attr.linked[LinkedInfo].packages)
    ctx.actions.write(packages, lines)

    args = ctx.actions.args()
    args.add("manifest")
    args.add("--bundle", ctx.attr.bundle)
    args.add("--go", "go" + ctx.toolchains[_GO].sdk.version)
    args.add("--packages", packages)
    args.add_all([p.validated for p in policies], before_each = "--policy")
    args.add("--out", out)
    args.set_param_file_format("multiline")
    args.use_param_file("@%s", use_always = True)
    ctx.actions.run(
        executable = ctx.executable._builder,
        arguments = [args],
        inputs = [packages] + [p.validated for p in policies],
        outputs = [out],
        mnemonic = "PolicyManifest",
        progress_message = "Writing the manifest %{label}",
    )
    return [
        DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out])),
        PolicyBundleInfo(policies = policies),
    ]

policy_manifest = rule(
    implementation = _policy_manifest_impl,
    doc = "Writes the manifest of a bundle: its policies, and the Go modules that are linked.",
    attrs = {
        "bundle": attr.string(
            mandatory = True,
            doc = "The bundle's name.",
        ),
        "linked": attr.label(
            aspects = [linked_aspect],
            mandatory = True,
            providers = [GoInfo],
            doc = "The go_library whose deps are what the binary links.",
        ),
        "policies": attr.label_list(
            aspects = [policy_aspect],
            providers = [GoInfo],
            doc = "The go_library of each policy version.",
        ),
        "_builder": attr.label(
            default = Label("//tools/builder"),
            executable = True,
            cfg = tool_transition,
            doc = "The tool behind the action.",
        ),
    },
    toolchains = [_GO],
)

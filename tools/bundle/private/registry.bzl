"""Generates the Go source that names the policies of a bundle."""

load("@rules_go//go:def.bzl", "GoInfo")
load("//tools/bundle:providers.bzl", "PolicyBundleInfo", "PolicyInfo")
load("//tools/bundle:tool.bzl", "tool_transition")
load(":policy.bzl", "policy_aspect")

def _policy_registry_impl(ctx):
    policies = [policy[PolicyInfo] for policy in ctx.attr.policies]
    out = ctx.actions.declare_file(ctx.label.name + ".go")

    args = ctx.actions.args()
    args.add("generate")
    args.add("--program", ctx.attr.program)
    args.add_all([p.validated for p in policies], before_each = "--policy")
    if ctx.file.manifest:
        args.add("--manifest", ctx.file.manifest)
    args.add("--out", out)
    args.set_param_file_format("multiline")
    args.use_param_file("@%s", use_always = True)
    ctx.actions.run(
        executable = ctx.executable._builder,
        arguments = [args],
        inputs = [p.validated for p in policies] + ctx.files.manifest,
        outputs = [out],
        mnemonic = "PolicyRegistry",
        progress_message = "Generating the registry %{label}",
    )
    return [
        DefaultInfo(files = depset([out])),
        PolicyBundleInfo(policies = policies),
    ]

policy_registry = rule(
    implementation = _policy_registry_impl,
    doc = "Generates a Go main package that names policies. Its only inputs are what the validate step wrote, and the manifest that was made from it.",
    attrs = {
        "manifest": attr.label(
            allow_single_file = True,
            doc = "The bundle's manifest, which an engine embeds.",
        ),
        "policies": attr.label_list(
            aspects = [policy_aspect],
            providers = [GoInfo],
            doc = "The go_library of each policy version.",
        ),
        "program": attr.string(
            values = ["engine", "examples"],
            default = "engine",
            doc = "What the main package is: the engine, or the program that builds each policy's examples.",
        ),
        "_builder": attr.label(
            default = Label("//tools/builder"),
            executable = True,
            cfg = tool_transition,
            doc = "The tool behind the action.",
        ),
    },
)

"""Writes what is linked into a bundle as software bills of materials."""

load("//tools/bundle:tool.bzl", "tool_transition")

def _policy_sbom_impl(ctx):
    cyclonedx = ctx.actions.declare_file(ctx.label.name + ".cdx.json")
    spdx = ctx.actions.declare_file(ctx.label.name + ".spdx.json")

    args = ctx.actions.args()
    args.add("sbom")
    args.add("--manifest", ctx.file.manifest)
    args.add("--licenses", ctx.file.license_table)
    args.add_all(ctx.attr.allowed_licenses, before_each = "--allow")
    args.add("--cyclonedx", cyclonedx)
    args.add("--spdx", spdx)
    args.set_param_file_format("multiline")
    args.use_param_file("@%s", use_always = True)
    ctx.actions.run(
        executable = ctx.executable._builder,
        arguments = [args],
        inputs = [ctx.file.manifest, ctx.file.license_table],
        outputs = [cyclonedx, spdx],
        mnemonic = "PolicySBOM",
        progress_message = "Writing the bills of materials %{label}",
    )
    files = depset([cyclonedx, spdx])
    return [
        DefaultInfo(files = files, runfiles = ctx.runfiles([cyclonedx, spdx])),
        OutputGroupInfo(
            _validation = files,
            cyclonedx = depset([cyclonedx]),
            spdx = depset([spdx]),
        ),
    ]

policy_sbom = rule(
    implementation = _policy_sbom_impl,
    doc = "Writes the modules of a manifest, with their licences, as CycloneDX 1.6 and as SPDX 2.3. Fails if a licence is not allowed.",
    attrs = {
        "allowed_licenses": attr.string_list(
            doc = "SPDX identifiers of the licences that are allowed; without any, all are.",
        ),
        "license_table": attr.label(
            allow_single_file = True,
            mandatory = True,
            doc = "The licences of modules, as tools/licenses writes them.",
        ),
        "manifest": attr.label(
            allow_single_file = True,
            mandatory = True,
            doc = "The bundle's manifest.",
        ),
        "_builder": attr.label(
            default = Label("//tools/builder"),
            executable = True,
            cfg = tool_transition,
            doc = "The tool behind the action.",
        ),
    },
)

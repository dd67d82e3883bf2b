"""Envoy as a toolchain: what runs in tests and demonstrations."""

EnvoyInfo = provider(
    doc = "An Envoy.",
    fields = {
        "envoy": "The executable, a File.",
        "version": "Its version, such as 1.36.2.",
    },
)

_TOOLCHAIN_TYPE = "//tools/envoy:toolchain_type"

def _envoy_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(
        envoy_info = EnvoyInfo(envoy = ctx.file.envoy, version = ctx.attr.version),
    )]

envoy_toolchain = rule(
    implementation = _envoy_toolchain_impl,
    attrs = {
        "envoy": attr.label(allow_single_file = True, mandatory = True, doc = "The executable."),
        "version": attr.string(mandatory = True, doc = "Its version."),
    },
    doc = "Declares an Envoy to be used.",
)

def _envoy_binary_impl(ctx):
    envoy = ctx.toolchains[_TOOLCHAIN_TYPE].envoy_info.envoy
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = executable, is_executable = True, target_file = envoy)
    return [DefaultInfo(
        executable = executable,
        files = depset([executable]),
        runfiles = ctx.runfiles(files = [executable]),
    )]

envoy_binary = rule(
    implementation = _envoy_binary_impl,
    doc = "The Envoy of the toolchain, as an executable.",
    executable = True,
    toolchains = [_TOOLCHAIN_TYPE],
)

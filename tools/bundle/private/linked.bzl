"""Finds the Go packages that a program links, and the modules that they are in."""

load("@rules_go//go:def.bzl", "GoInfo")
load("@rules_license//rules:providers.bzl", "PackageInfo")

LinkedInfo = provider(
    doc = "The Go packages that a go_library and its deps consist of.",
    fields = {
        "packages": "depset of strings: import path, module path and module version, separated by tabs. The last two are empty in a repository that is no Go module with a version.",
        "sources": "depset of Files: what is compiled of packages that are in no Go module with a version.",
    },
)

def _module_of(rule):
    """What gazelle's go_deps says of the repository: it makes a package_info the default of each rule in there."""

    # The attribute has another name in later versions of Bazel.
    for name in ["applicable_licenses", "package_metadata"]:
        for target in getattr(rule.attr, name, None) or []:
            if PackageInfo in target:
                info = target[PackageInfo]
                version = info.package_version
                return info.package_name, ("v" + version if version else "")
    return "", ""

def _linked_aspect_impl(target, ctx):
    if GoInfo not in target:
        return []
    module, version = _module_of(ctx.rule)
    importpath = target[GoInfo].importpath

    # What a library embeds is compiled as part of it, and what has no sources is not compiled.
    compiled = [importpath] if target[GoInfo].srcs else []
    below = [
        dep[LinkedInfo]
        for name in ["deps", "embed"]
        for dep in getattr(ctx.rule.attr, name, [])
        if LinkedInfo in dep
    ]
    sources = [] if version else target[GoInfo].srcs + getattr(ctx.rule.files, "embedsrcs", [])
    return [LinkedInfo(
        packages = depset(
            ["\t".join([path, module, version]) for path in compiled],
            transitive = [info.packages for info in below],
        ),
        sources = depset(sources, transitive = [info.sources for info in below]),
    )]

linked_aspect = aspect(
    implementation = _linked_aspect_impl,
    doc = "Gives a LinkedInfo: walks the deps and embed of Go rules.",
    attr_aspects = ["deps", "embed"],
)

"""The Go import graph of this repository, as a file that a test can read."""

load("@rules_go//go:def.bzl", "GoInfo")

ImportGraphInfo = provider(
    doc = "Which Go packages of this repository import which.",
    fields = {
        "edges": "depset of strings, each `importer imported`",
        "importpath": "string, the package's own import path",
    },
)

def _import_graph_aspect_impl(target, ctx):
    if GoInfo not in target:
        return []
    importpath = target[GoInfo].importpath
    direct = []
    transitive = []

    # What a library embeds is compiled as part of it.
    for embedded in getattr(ctx.rule.attr, "embed", []):
        if ImportGraphInfo in embedded:
            transitive.append(embedded[ImportGraphInfo].edges)
    for dep in getattr(ctx.rule.attr, "deps", []):
        if ImportGraphInfo in dep:
            direct.append("%s %s" % (importpath, dep[ImportGraphInfo].importpath))
            transitive.append(dep[ImportGraphInfo].edges)
        elif GoInfo in dep:
            direct.append("%s %s" % (importpath, dep[GoInfo].importpath))
    return [ImportGraphInfo(
        edges = depset(direct, transitive = transitive),
        importpath = importpath,
    )]

_import_graph_aspect = aspect(
    doc = "Collects ImportGraphInfo over the deps and embed of Go rules.",
    implementation = _import_graph_aspect_impl,
    attr_aspects = ["deps", "embed"],
)

def _import_graph_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".txt")
    edges = depset(transitive = [root[ImportGraphInfo].edges for root in ctx.attr.roots])
    args = ctx.actions.args()
    args.set_param_file_format("multiline")
    args.add_all(edges)
    ctx.actions.write(out, args)
    return [DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out]))]

import_graph = rule(
    doc = "Writes the import graph beneath its roots: one `importer imported` a line.",
    implementation = _import_graph_impl,
    attrs = {
        "roots": attr.label_list(
            doc = "Go libraries from which the graph is followed.",
            aspects = [_import_graph_aspect],
            mandatory = True,
            providers = [GoInfo],
        ),
    },
)

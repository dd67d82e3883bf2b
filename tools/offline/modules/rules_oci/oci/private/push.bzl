"""oci_push: a target to run that pushes an image to a registry."""

load("@policy_engine//tools/bundle:tool.bzl", "tool_transition")
load(":launcher.bzl", "launcher", "lines_file", "program_attr", "runfiles_path")

def _oci_push_impl(ctx):
    if ctx.attr.repository and ctx.file.repository_file:
        fail("must specify exactly one of 'repository_file' or 'repository'")
    if not ctx.file.image.is_directory:
        fail("image must be one directory that holds an OCI layout")
    if "@" in ctx.attr.repository or ":" in ctx.attr.repository.rpartition("/")[2]:
        fail("`repository` attribute should not contain digest or tag. got: " + ctx.attr.repository)
    executable, runfiles = launcher(
        ctx,
        struct(
            to_registry = struct(
                crane = runfiles_path(ctx, ctx.executable._crane),
                image = runfiles_path(ctx, ctx.file.image),
                repository = ctx.attr.repository,
                repository_file = runfiles_path(ctx, ctx.file.repository_file),
                tags_file = runfiles_path(ctx, ctx.file.remote_tags),
            ),
        ),
        [ctx.executable._crane, ctx.file.image, ctx.file.repository_file, ctx.file.remote_tags],
        ctx.attr._crane,
    )
    return [DefaultInfo(executable = executable, runfiles = runfiles)]

_oci_push = rule(
    implementation = _oci_push_impl,
    attrs = {
        "image": attr.label(
            allow_single_file = True,
            mandatory = True,
            doc = "The image: one directory that holds an OCI layout.",
        ),
        "remote_tags": attr.label(
            allow_single_file = True,
            doc = "A text file of tags, one a line, that the pushed image gets.",
        ),
        "repository": attr.string(
            doc = "Where to push to, without tag or digest; --repository overrides it.",
        ),
        "repository_file": attr.label(
            allow_single_file = True,
            doc = "The same, in a file.",
        ),
        "_crane": attr.label(
            default = "@com_github_google_go_containerregistry//cmd/crane",
            executable = True,
            cfg = tool_transition,
            doc = "The registry client.",
        ),
        "_program": program_attr,
    },
    doc = "Pushes an image by its digest, then tags it.",
    executable = True,
)

def oci_push(name, remote_tags = None, **kwargs):
    """Pushes an image when it is run: `bazel run :name -- --repository R --tag T`.

    Args:
        name: The target's name.
        remote_tags: The tags to give: a list, or the label of a file with one a line.
        **kwargs: Further attributes of the rule.
    """
    inherited = {k: kwargs[k] for k in ("tags", "testonly") if k in kwargs}
    _oci_push(
        name = name,
        remote_tags = lines_file(name + "_remote_tags", remote_tags, visibility = ["//visibility:private"], **inherited),
        **kwargs
    )

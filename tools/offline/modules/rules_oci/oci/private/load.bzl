"""oci_load: a target to run that loads an image into a container engine."""

load(":launcher.bzl", "launcher", "lines_file", "program_attr", "runfiles_path")

def _oci_load_impl(ctx):
    if not ctx.file.image.is_directory:
        fail("image must be one directory that holds an OCI layout")
    if ctx.attr.format != "docker":
        fail("format: only \"docker\" is to be had on a closed network")
    tarball = ctx.actions.declare_file(ctx.label.name + ".tar")
    args = ctx.actions.args()
    args.add("tarball")
    args.add_all([ctx.file.image], expand_directories = False)
    args.add(ctx.file.repo_tags)
    args.add(tarball)
    ctx.actions.run(
        arguments = [args],
        executable = ctx.executable._tool,
        inputs = [ctx.file.image, ctx.file.repo_tags],
        mnemonic = "OCITarball",
        outputs = [tarball],
        progress_message = "Writing the tarball of %{label}",
    )
    executable, runfiles = launcher(
        ctx,
        struct(
            to_engine = struct(
                image = runfiles_path(ctx, ctx.file.image),
                loader = runfiles_path(ctx, ctx.executable.loader),
                tags_file = runfiles_path(ctx, ctx.file.repo_tags),
            ),
        ),
        [ctx.file.image, ctx.file.repo_tags, ctx.executable.loader],
        [ctx.attr.loader] if ctx.attr.loader else [],
    )
    return [
        DefaultInfo(executable = executable, runfiles = runfiles),
        OutputGroupInfo(tarball = depset([tarball])),
    ]

_oci_load = rule(
    implementation = _oci_load_impl,
    attrs = {
        "format": attr.string(
            default = "docker",
            doc = "The tarball's format: docker alone, here.",
            values = ["docker", "oci"],
        ),
        "image": attr.label(
            allow_single_file = True,
            mandatory = True,
            doc = "The image: one directory that holds an OCI layout.",
        ),
        "loader": attr.label(
            allow_files = True,
            executable = True,
            cfg = "target",
            doc = "The container engine's command line; docker or podman on PATH if there is none.",
        ),
        "repo_tags": attr.label(
            allow_single_file = [".txt"],
            mandatory = True,
            doc = "A text file of tags, one a line, each with its repository.",
        ),
        "_program": program_attr,
        "_tool": attr.label(
            default = "@policy_engine//tools/offline/cmd/oci",
            executable = True,
            cfg = "exec",
            doc = "The program that writes the tarball.",
        ),
    },
    doc = "Loads an image into a container engine; its tarball is an output group.",
    executable = True,
)

def oci_load(name, repo_tags = None, **kwargs):
    """Loads an image into docker or podman when it is run.

    Args:
        name: The target's name.
        repo_tags: The tags to give: a list, or the label of a file with one a line.
        **kwargs: Further attributes of the rule.
    """
    inherited = {k: kwargs[k] for k in ("tags", "testonly") if k in kwargs}
    _oci_load(
        name = name,
        repo_tags = lines_file(name + "_repo_tags", repo_tags, visibility = ["//visibility:private"], **inherited),
        **kwargs
    )

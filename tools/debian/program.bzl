"""Programs of Debian's as executables that tests can have among their data."""

load("@platforms//host:constraints.bzl", "HOST_CONSTRAINTS")

def _program_impl(ctx):
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = executable, is_executable = True, target_file = ctx.file.program)
    return [DefaultInfo(
        executable = executable,
        files = depset([executable]),
        runfiles = ctx.runfiles(files = [executable] + ctx.files.files),
    )]

_program = rule(
    implementation = _program_impl,
    attrs = {
        "files": attr.label(mandatory = True, doc = "What the program needs at run time."),
        "program": attr.label(allow_single_file = True, mandatory = True, doc = "The executable."),
    },
    doc = "An executable by the program's own name.",
    executable = True,
)

def debian_program(name, **kwargs):
    """A program of programs.json, to be run and to be among a test's data.

    Args:
        name: Its name there.
        **kwargs: What all targets have.
    """
    _program(
        name = name,
        files = "@debian_{}//:files".format(name),
        program = "@debian_{}//:program".format(name),
        target_compatible_with = HOST_CONSTRAINTS,
        **kwargs
    )

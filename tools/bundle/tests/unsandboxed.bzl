"""Runs a test outside of Bazel's sandbox."""

def _unsandboxed_test_impl(ctx):
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = executable, is_executable = True, target_file = ctx.executable.test)
    runfiles = ctx.runfiles(files = [executable] + ctx.files.data).merge_all([
        target[DefaultInfo].default_runfiles
        for target in ctx.attr.data + [ctx.attr.test]
    ])
    return [DefaultInfo(executable = executable, runfiles = runfiles)]

_unsandboxed_test = rule(
    implementation = _unsandboxed_test_impl,
    attrs = {
        "data": attr.label_list(allow_files = True, doc = "What the test needs, and what args name."),
        "test": attr.label(executable = True, cfg = "target", mandatory = True, doc = "The test to run."),
    },
    doc = "Runs a test that is tagged manual.",
    test = True,
)

def unsandboxed_test(name, **kwargs):
    """Runs a go_test outside of the sandbox, and leaves its building there.

    A tag on the go_test itself would take its compiling out of the sandbox as well,
    where paths cannot be mapped (.bazelrc: --experimental_output_paths).

    Args:
        name: The target's name.
        **kwargs: test, the go_test, which has the tag manual; data, args, size and what
            else a test takes.
    """
    _unsandboxed_test(name = name, tags = ["no-sandbox"], **kwargs)

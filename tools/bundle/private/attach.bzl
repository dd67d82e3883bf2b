"""Attaches documents to the image of a bundle, where it was pushed to."""

load("//tools/bundle:tool.bzl", "tool_transition")

def _policy_attach_impl(ctx):
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = executable, is_executable = True, target_file = ctx.executable._attach)
    runfiles = ctx.runfiles(files = ctx.files.data).merge(ctx.attr._attach[0][DefaultInfo].default_runfiles)
    return [DefaultInfo(executable = executable, runfiles = runfiles)]

policy_attach = rule(
    implementation = _policy_attach_impl,
    doc = "To be run: pushes documents as referrers of an image. Its args say which.",
    attrs = {
        "data": attr.label_list(
            allow_files = True,
            doc = "The image and the documents, which args name.",
        ),
        "_attach": attr.label(
            default = Label("//tools/attach/cmd"),
            executable = True,
            # It has to run here, whatever the image is built for.
            cfg = tool_transition,
            doc = "The program that attaches.",
        ),
    },
    executable = True,
)

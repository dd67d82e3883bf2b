"""What oci_push and oci_load have in common: a program with its orders beside it."""

load("@policy_engine//tools/bundle:tool.bzl", "tool_transition")

PROGRAM = Label("@policy_engine//tools/offline/cmd/oci")

program_attr = attr.label(
    default = PROGRAM,
    executable = True,
    # It runs here, whatever the image is built for.
    cfg = tool_transition,
    doc = "The program that pushes and loads.",
)

def runfiles_path(ctx, file):
    """Returns the path of a file below a runfiles directory.

    Args:
        ctx: The rule's context.
        file: The file, None for none.

    Returns:
        The path, "" if there is no file.
    """
    if not file:
        return ""
    if file.short_path.startswith("../"):
        return file.short_path[len("../"):]
    return ctx.workspace_name + "/" + file.short_path

def launcher(ctx, orders, files, targets = []):
    """Declares a program that carries out orders.

    Args:
        ctx: The rule's context; it has program_attr as _program.
        orders: A struct, which the program reads as JSON.
        files: The files that the orders name.
        targets: Targets whose runfiles are needed as well.

    Returns:
        The executable and its runfiles.
    """
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(
        output = executable,
        is_executable = True,
        target_file = ctx.executable._program,
    )
    beside = ctx.actions.declare_file(ctx.label.name + ".json")
    ctx.actions.write(beside, json.encode(orders))
    runfiles = ctx.runfiles(files = [beside] + [f for f in files if f])
    return executable, runfiles.merge_all([
        target[DefaultInfo].default_runfiles
        for target in ctx.attr._program + targets  # a transition makes a list of a label
    ])

def lines_file(name, lines, **kwargs):
    """Returns the label of a file with the given lines, or lines if it is one already.

    Args:
        name: The name of the target that writes the file.
        lines: A list of strings, a label, or None.
        **kwargs: Attributes of that target.

    Returns:
        The label of the file.
    """
    if type(lines) != "list":
        return lines
    _lines(name = name, lines = lines, **kwargs)
    return name

def _lines_impl(ctx):
    file = ctx.actions.declare_file(ctx.label.name + ".txt")
    ctx.actions.write(file, "\n".join(ctx.attr.lines) + "\n")
    return [DefaultInfo(files = depset([file]))]

_lines = rule(
    implementation = _lines_impl,
    attrs = {"lines": attr.string_list(doc = "The file's lines.")},
    doc = "A text file.",
)

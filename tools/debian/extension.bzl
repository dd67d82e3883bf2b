"""One repository for each program of programs.json, with what it needs of Debian's packages."""

load(":repository.bzl", "debian_program_repository")

_PROGRAMS = Label("//tools/debian:programs.json")

def _debian_impl(mctx):
    for name in json.decode(mctx.read(_PROGRAMS))["programs"]:
        debian_program_repository(name = "debian_" + name, program = name)
    return mctx.extension_metadata(reproducible = True)

debian = module_extension(
    implementation = _debian_impl,
    doc = "Makes a repository @debian_NAME for each program NAME of programs.json.",
)

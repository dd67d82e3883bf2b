"""A program of Debian's, unpacked and made to run from where it is unpacked.

Nothing is installed, and no root is needed. lock.json pins each package by its
hash, so that it does not matter which mirror it comes from. A mirror keeps only
the newest version of a package: for one that it no longer has, apt takes the
version that the suite has now, and checks it by Debian's signature instead.

The mirrors are those of the host's apt, or POLICY_ENGINE_DEBIAN_MIRROR.
"""

_MIRROR = "POLICY_ENGINE_DEBIAN_MIRROR"
_KEYRING = "POLICY_ENGINE_DEBIAN_KEYRING"

_DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

_ARCHITECTURES = {
    "amd64": struct(triplet = "x86_64-linux-gnu", loader = "ld-linux-x86-64.so.2"),
    "arm64": struct(triplet = "aarch64-linux-gnu", loader = "ld-linux-aarch64.so.1"),
}

# What no program reads when it runs.
_UNUSED = [
    "usr/include",
    "usr/share/bash-completion",
    "usr/share/doc",
    "usr/share/fish",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/zsh",
    "usr/lib/{triplet}/gconv",
]

_BUILD = """\
package(default_visibility = ["@@//tools/debian:__pkg__"])

alias(
    name = "program",
    actual = "root/{path}",
)

filegroup(
    name = "files",
    srcs = glob(["root/**"]),
)
"""

def _architecture(rctx):
    arch = {"aarch64": "arm64", "amd64": "amd64", "arm64": "arm64", "x86_64": "amd64"}.get(rctx.os.arch, rctx.os.arch)
    if rctx.os.name.partition(" ")[0] != "linux" or arch not in _ARCHITECTURES:
        fail("Debian's programs run on linux on {} here, and this is {} on {}".format(" and ".join(_ARCHITECTURES), rctx.os.name, rctx.os.arch))
    return arch

def _configured_mirrors(rctx):
    """The Debian mirrors that the user or the host's apt names."""
    given = rctx.getenv(_MIRROR)
    if given:
        return [given.rstrip("/")]
    apt = rctx.which("apt-get")
    if not apt:
        return []
    result = rctx.execute([apt, "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    found = []
    for line in result.stdout.splitlines() if result.return_code == 0 else []:
        uri = line.strip().rstrip("/")

        # Other archives, that of security updates among them, have another layout.
        if uri.endswith("/debian") and uri not in found:
            found.append(uri)
    return found

def _download(rctx, mirrors, packages, pins):
    """Downloads the pinned packages, and returns those that no mirror has."""
    pending = {
        name: rctx.download(
            [mirror + "/" + pins[name]["file"] for mirror in mirrors],
            output = name + ".deb",
            sha256 = pins[name]["sha256"],
            allow_fail = True,
            block = False,
        )
        for name in packages
    }
    return [name for name, download in pending.items() if not download.wait().success]

def _apt_config(rctx, mirror, suite, arch):
    """Writes the configuration of an apt of our own: nothing of the host's is changed."""
    keyring = rctx.getenv(_KEYRING) or _DEBIAN_KEYRING
    if not rctx.path(keyring).exists:
        return None, "there is no keyring {}".format(keyring)
    for directory in ["state/lists/partial", "cache/archives/partial"]:
        rctx.file("apt/{}/.keep".format(directory))
    rctx.file("apt/state/status")
    rctx.file("apt/sources.list", "deb [signed-by={} check-valid-until=no] {} {} main\n".format(keyring, mirror, suite))
    rctx.file("apt/apt.conf", """\
Dir::Etc::sourcelist "{apt}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{apt}/state";
Dir::State::status "{apt}/state/status";
Dir::Cache "{apt}/cache";
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
Acquire::Languages "none";
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
""".format(apt = rctx.path("apt"), arch = arch))
    return {"APT_CONFIG": str(rctx.path("apt/apt.conf")), "LC_ALL": "C"}, ""

def _apt_download(rctx, mirrors, packages, suite, arch):
    """Has apt download what the suite has now of packages; returns what went wrong."""
    apt = rctx.which("apt-get")
    if not apt:
        return ["there is no apt-get, which could take the suite's present versions"]
    problems = []
    for mirror in mirrors:
        environment, problem = _apt_config(rctx, mirror, suite, arch)
        if problem:
            return [problem]
        result = None
        for command in [["update", "-o", "APT::Update::Error-Mode=any"], ["download"] + packages]:
            result = rctx.execute([apt, "-q"] + command, environment = environment, working_directory = "apt")
            if result.return_code:
                problems.append("{}: apt-get {}: {}".format(mirror, command[0], result.stderr.strip()))
                break
        if result.return_code == 0:
            for file in rctx.path("apt").readdir():
                if file.basename.endswith(".deb"):
                    rctx.execute(["mv", str(file), file.basename.partition("_")[0] + ".deb"])
            rctx.delete("apt")

            # buildifier: disable=print
            print("{} moved on from what tools/debian/lock.json pins of {}; apt took the present versions. Renew the lock: go run ./tools/debian/cmd/lock".format(mirror, ", ".join(packages)))
            return []
    return problems

def _unpack(rctx, name):
    rctx.extract(name + ".deb", output = name)
    data = [f for f in rctx.path(name).readdir() if f.basename.startswith("data.tar")]
    if len(data) != 1:
        fail("{}.deb is not a Debian package: it holds {} archives of data".format(name, len(data)))
    rctx.extract(data[0], output = "root")
    rctx.delete(name)
    rctx.delete(name + ".deb")

def _run(rctx, command, doing):
    result = rctx.execute(command)
    if result.return_code:
        fail("{} ended with status {}:\n{}{}".format(doing, result.return_code, result.stdout, result.stderr))

def _relocate(rctx, path, machine):
    """Makes the program find its loader and its libraries where they were unpacked."""
    libraries = str(rctx.path("root/usr/lib/" + machine.triplet))
    patcher = rctx.path(rctx.attr.patchelf).dirname
    patcher_libraries = str(patcher.get_child("root/usr/lib/" + machine.triplet))
    patchelf = [
        patcher_libraries + "/" + machine.loader,
        "--library-path",
        patcher_libraries,
        str(patcher.get_child("root/usr/bin/patchelf")),
    ]
    program = str(rctx.path("root/" + path).realpath)

    # In this order, and in two calls: otherwise some Go programs crash. RPATH
    # rather than RUNPATH, which does not reach the libraries of libraries.
    _run(rctx, patchelf + ["--force-rpath", "--set-rpath", libraries, program], "patchelf")
    _run(rctx, patchelf + ["--set-interpreter", libraries + "/" + machine.loader, program], "patchelf")
    _run(rctx, [str(rctx.path("root/" + path)), "--version"], "{}, unpacked and made relocatable,".format(path))

def _debian_program_repository_impl(rctx):
    declared = json.decode(rctx.read(rctx.attr.programs))
    arch = _architecture(rctx)
    machine = _ARCHITECTURES[arch]
    lock = json.decode(rctx.read(rctx.attr.lock))
    pins = lock[arch]["packages"]
    packages = lock[arch]["programs"][rctx.attr.program]

    rctx.report_progress("fetching {} from Debian".format(rctx.attr.program))
    mirrors = _configured_mirrors(rctx)
    if not mirrors:
        fail("{} is fetched from Debian, and no mirror is known: the host's apt has none, or there is no apt.\n  remedy: set {} to the base URI of a mirror that has Debian's suite {}; its path ends in /debian".format(
            rctx.attr.program,
            _MIRROR,
            declared["suite"],
        ))
    missing = _download(rctx, mirrors, packages, pins)
    problems = _apt_download(rctx, mirrors, missing, declared["suite"], arch) if missing else []
    if problems:
        fail("Debian's packages {} cannot be fetched:\n  {}\n  tried: {}\n  remedy: set {} to the base URI of a mirror that has Debian's suite {} (and {} to its keyring, if it is signed by another)".format(
            ", ".join(missing),
            "\n  ".join(problems),
            ", ".join(mirrors),
            _MIRROR,
            declared["suite"],
            _KEYRING,
        ))
    for name in packages:
        _unpack(rctx, name)
    for path in _UNUSED:
        rctx.delete("root/" + path.format(triplet = machine.triplet))

    path = declared["programs"][rctx.attr.program]["path"]
    if not rctx.path("root/" + path).exists:
        fail("Debian's packages {} have no {}: correct tools/debian/programs.json".format(", ".join(packages), path))
    if rctx.attr.program != "patchelf":
        _relocate(rctx, path, machine)
    rctx.file("BUILD.bazel", _BUILD.format(path = path))

debian_program_repository = repository_rule(
    implementation = _debian_program_repository_impl,
    attrs = {
        "lock": attr.label(default = Label("//tools/debian:lock.json"), doc = "The file that pins the packages."),
        "patchelf": attr.label(default = Label("@debian_patchelf//:BUILD.bazel"), doc = "A file beside the directory of patchelf."),
        "program": attr.string(mandatory = True, doc = "A name in programs."),
        "programs": attr.label(default = Label("//tools/debian:programs.json"), doc = "The file that says where each program is."),
    },
    doc = "One program, with the libraries that it needs.",
)

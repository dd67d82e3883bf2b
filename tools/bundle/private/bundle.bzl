"""The macro that makes a bundle."""

load("@rules_go//go:def.bzl", "go_binary", "go_library")
load("@rules_oci//oci:defs.bzl", "oci_push")
load(":attach.bzl", "policy_attach")
load(":examples.bzl", "policy_examples")
load(":image.bzl", "policy_image")
load(":manifest.bzl", "policy_manifest")
load(":provenance.bzl", "policy_provenance")
load(":registry.bzl", "policy_registry")
load(":sbom.bzl", "policy_sbom")

def policy_engine_bundle(
        name,
        policies = [],
        repository = None,
        labels = {},
        remote_tags = [],
        allowed_licenses = [],
        licenses = None,
        go_sum = None,
        builder_id = "https://policyengine.dev/builders/unspecified",
        visibility = None,
        tags = [],
        testonly = False):
    """A policy engine with these policy versions compiled in, and no other.

    Building any of its targets validates each policy.yaml, and fails with file,
    line and reason where one is not valid, where two are the same version of the
    same name, or where a declared phase is not implemented. Each example of each
    definition has to make an instance, which is a validation of the image.

    The targets, for a bundle called `payments`:

    | target | what it is |
    |---|---|
    | `payments` | the static binary; `bazel run` starts it |
    | `payments_binary` | the same |
    | `payments_image` | an OCI image layout, one directory; the same bytes whoever builds it, and when |
    | `payments_manifest` | what is in the binary, as JSON: the policies with digests of their definitions, and the Go modules with versions; [the schema](manifest.schema.json) |
    | `payments_push` | to be run: pushes the image, `-- --repository R --tag T` |
    | `payments_sbom` | what is linked, with licences: CycloneDX 1.6 (`payments_sbom.cdx.json`) and SPDX 2.3 (`payments_sbom.spdx.json`) |
    | `payments_provenance` | what the image was built from: an in-toto statement with a SLSA v1 predicate, without a signature |
    | `payments_attach` | to be run after the push: attaches bills of materials and provenance to the image in the registry, `-- --repository R` |
    | `payments_registry` | the generated main package |
    | `payments_examples` | what tries the examples |

    Args:
        name: The bundle's name.
        policies: The go_library of each policy version, such as
            `//policies/set-header/v1.0.0`. None is a valid bundle too.
        repository: Where `NAME_push` pushes to unless told otherwise; by default
            `localhost:5000/policy-engine/NAME`.
        labels: Labels of the image beside those that name the bundle and its
            policies, such as `org.opencontainers.image.source`.
        remote_tags: Tags that every push moves, such as `latest`, beside those that
            `--tag` gives. By default none: a push of an old version moves no tag but
            its own.
        allowed_licenses: SPDX identifiers of the licences that linked modules may have,
            such as `MIT`. By default all are allowed. A module with another one, or
            whose licence is not in `licenses`, fails the build of `NAME_sbom` and `NAME_image`.
        licenses: The licences of the linked modules, found in the modules' own files. By default
            the table of this repository, which has no modules but its own.
        go_sum: The go.sum with the checksums of the linked modules, for the provenance. By default that
            of this repository.
        builder_id: A URI that identifies who builds, for the provenance. Nothing proves it: only
            a signature by the builder does.
        visibility: Who may use the targets.
        tags: Tags of the targets.
        testonly: Whether only tests may use the targets.
    """
    destination = repository or "localhost:5000/policy-engine/" + name
    common = dict(tags = tags, testonly = testonly, visibility = visibility)

    # Without a source of its own: what the generated one imports.
    go_library(
        name = name + "_linked",
        importpath = "policyengine.dev/linked/" + name,
        # Without policies, the generated code imports no SDK.
        deps = policies + ([Label("//sdk/policy")] if policies else []) + [
            Label("//runtime/engine"),
            Label("//runtime/worker"),
        ],
        **common
    )
    policy_manifest(
        name = name + "_manifest",
        bundle = name,
        linked = ":{}_linked".format(name),
        policies = policies,
        **common
    )
    policy_registry(
        name = name + "_registry",
        manifest = ":{}_manifest".format(name),
        policies = policies,
        **common
    )
    bundle_binary(
        name = name + "_binary",
        linked = ":{}_linked".format(name),
        registry = ":{}_registry".format(name),
        **common
    )
    native.alias(
        name = name,
        actual = ":{}_binary".format(name),
        **common
    )

    policy_registry(
        name = name + "_examples_registry",
        policies = policies,
        program = "examples",
        **common
    )
    go_binary(
        name = name + "_examples_program",
        srcs = [":{}_examples_registry".format(name)],
        pure = "on",
        deps = policies + [
            Label("//sdk/policy"),
            Label("//tools/builder/examples"),
        ],
        **common
    )
    policy_examples(
        name = name + "_examples",
        program = ":{}_examples_program".format(name),
        **common
    )

    policy_sbom(
        name = name + "_sbom",
        allowed_licenses = allowed_licenses,
        license_table = licenses or Label("//tools/licenses:licenses.json"),
        manifest = ":{}_manifest".format(name),
        **common
    )
    policy_image(
        name = name + "_image",
        binary = ":{}_binary".format(name),
        bundle = name,
        checks = [
            ":{}_examples".format(name),
            ":{}_sbom".format(name),
        ],
        labels = labels,
        registry = ":{}_registry".format(name),
        **common
    )
    policy_provenance(
        name = name + "_provenance",
        builder_id = builder_id,
        go_sum = go_sum or Label("//:go.sum"),
        image = ":{}_image".format(name),
        linked = ":{}_linked".format(name),
        manifest = ":{}_manifest".format(name),
        registry = ":{}_registry".format(name),
        **common
    )
    oci_push(
        name = name + "_push",
        image = ":{}_image".format(name),
        remote_tags = remote_tags,
        repository = destination,
        **common
    )
    for format in ["cyclonedx", "spdx"]:
        native.filegroup(
            name = "{}_sbom_{}".format(name, format),
            srcs = [":{}_sbom".format(name)],
            output_group = format,
            **common
        )
    policy_attach(
        name = name + "_attach",
        args = [
            "--repository=" + destination,
            "--image=$(rlocationpath :{}_image)".format(name),
            "--document=cyclonedx=$(rlocationpath :{}_sbom_cyclonedx)".format(name),
            "--document=spdx=$(rlocationpath :{}_sbom_spdx)".format(name),
            "--document=in-toto=$(rlocationpath :{}_provenance)".format(name),
        ],
        data = [
            ":{}_image".format(name),
            ":{}_provenance".format(name),
            ":{}_sbom_cyclonedx".format(name),
            ":{}_sbom_spdx".format(name),
        ],
        **common
    )

def bundle_binary(name, registry, linked, **kwargs):
    """Links the binary of a bundle.

    Args:
        name: The target's name.
        registry: The generated main package.
        linked: The go_library whose deps are what that imports.
        **kwargs: What all targets have.
    """
    go_binary(
        name = name,
        srcs = [registry],
        embed = [linked],
        # Neither symbols nor debugging information: a stack trace needs none.
        gc_linkopts = ["-s", "-w"],
        pure = "on",
        **kwargs
    )

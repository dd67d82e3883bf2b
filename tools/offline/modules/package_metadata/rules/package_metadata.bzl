"""The rule of package_metadata, as far as gazelle's repositories need it."""

load("//providers:package_metadata_info.bzl", "PackageMetadataInfo")

def _package_metadata_impl(_ctx):
    return [
        DefaultInfo(),
        PackageMetadataInfo(files = depset(), metadata = None),
    ]

_package_metadata = rule(
    implementation = _package_metadata_impl,
    attrs = {
        "attributes": attr.label_list(doc = "Further attributes of the package; not looked at."),
        "purl": attr.string(doc = "The package's URL."),
    },
    doc = "Says which package a repository is.",
)

def package_metadata(name, purl = "", attributes = [], visibility = None):
    """Says which package a repository is.

    Args:
        name: The target's name.
        purl: The package's URL.
        attributes: Further attributes of the package.
        visibility: Who may refer to it.
    """
    _package_metadata(
        name = name,
        # gazelle makes this target the default of every rule in the package:
        # without this line it would depend on itself.
        applicable_licenses = [],
        attributes = attributes,
        purl = purl,
        visibility = visibility,
    )

"""The provider of package_metadata, as far as gazelle's repositories need it."""

PackageMetadataInfo = provider(
    doc = "What is known of the package that a target belongs to.",
    fields = {
        "files": "A depset of the files that hold it; empty here.",
        "metadata": "The file that describes it; None here.",
    },
)

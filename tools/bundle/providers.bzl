"""What the rules of bundles tell each other."""

PolicyInfo = provider(
    doc = "One policy version: a go_library with a policy.yaml that was found valid.",
    fields = {
        "definition": "File: the policy.yaml.",
        "importpath": "string: the import path of the Go package.",
        "label": "Label: the go_library.",
        "validated": "File: what the validate step wrote. It exists only if the definition is valid.",
    },
)

PolicyBundleInfo = provider(
    doc = "The policies of a bundle.",
    fields = {
        "policies": "list of PolicyInfo, in the order of the bundle.",
    },
)

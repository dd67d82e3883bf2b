"""Pushing and loading OCI images: what of rules_oci this repository uses."""

load("//oci/private:load.bzl", _oci_load = "oci_load")
load("//oci/private:push.bzl", _oci_push = "oci_push")

oci_load = _oci_load
oci_push = _oci_push

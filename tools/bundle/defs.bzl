"""The rules that make bundles of policies. See docs/reference/bundle.md."""

load("//tools/bundle/private:bundle.bzl", _policy_engine_bundle = "policy_engine_bundle")
load("//tools/bundle/private:policy.bzl", _policy_aspect = "policy_aspect")
load(":providers.bzl", _PolicyBundleInfo = "PolicyBundleInfo", _PolicyInfo = "PolicyInfo")

policy_engine_bundle = _policy_engine_bundle
policy_aspect = _policy_aspect
PolicyBundleInfo = _PolicyBundleInfo
PolicyInfo = _PolicyInfo

"""Kubernetes manifests, by Kustomize, and what writes those of them that say again what stands elsewhere."""

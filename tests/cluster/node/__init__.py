"""A complete, unmodified Kubernetes of one or two nodes, inside private network, mount and process namespaces of this machine.

Needs root and Linux with cgroup v1 controllers. Nothing is written to the machine's own network, sysctls or folders.
"""

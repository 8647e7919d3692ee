"""Tests of `compose.yaml` as docker or podman runs it: `make test-compose`.

Each run has a project of its own, with its own ports, volumes and network, and takes all of it away again. The images
are those that the file names; where no registry is reached, LOKI=, TEMPO= and `make collector` name programs instead.
"""

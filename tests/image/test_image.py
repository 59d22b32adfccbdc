"""What is in the image, and what it says of itself."""

import os
import subprocess
import tarfile
import unittest

import kit


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.image = kit.image()
        cls.entries = {}
        for layer in cls.image["layers"]:
            with tarfile.open(layer) as files:
                cls.entries.update((entry.name.strip("/"), entry) for entry in files)

    def test_the_dockerfile_has_no_lint(self):
        hadolint = kit.needs(kit.CACHE / "venv/bin/hadolint", "hadolint")
        self.assertEqual(kit.run(hadolint, kit.ROOT / "deploy/docker/Dockerfile"), "")

    def test_it_runs_the_bridge_as_a_user_without_rights(self):
        config = self.image["config"]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["Entrypoint"], ["/usr/local/bin/spop-bridge"])
        self.assertEqual(config["Cmd"], ["run", "--config", "/etc/spop-bridge/bridge.yaml"])
        self.assertEqual(set(config["ExposedPorts"]), {"9000/tcp", "9902/tcp"})

    def test_it_says_what_it_is(self):
        labels = {name.rsplit(".", 1)[1]: text for name, text in self.image["config"]["Labels"].items() if name.startswith("org.opencontainers.image.")}
        self.assertEqual(set(labels), {"title", "description", "licenses", "version", "revision", "source"})
        self.assertEqual((labels["title"], labels["licenses"]), ("spop-bridge", "Apache-2.0"))

    def test_there_is_nothing_else_in_it(self):
        """No shell, no package manager, no library: nothing to patch but the bridge and the CA certificates."""
        self.assertEqual({path for path, entry in self.entries.items() if not entry.isdir()},
                         {"etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "usr/local/bin/spop-bridge", "usr/share/doc/spop-bridge/LICENSE"})

    def test_only_the_sockets_folder_is_the_bridges_own(self):
        owned = [path for path, entry in self.entries.items() if (entry.uid, entry.gid) != (0, 0)]
        self.assertEqual(owned, ["run/spop-bridge"])
        self.assertEqual([path for path, entry in self.entries.items() if entry.mode & 0o022], [])

    def test_a_real_image_is_static_and_lists_its_dependencies(self):
        """That of the test is built around a debug binary."""
        program = self.image["rootfs"] / "usr/local/bin/spop-bridge"
        if os.environ.get("IMAGE") is None:
            return
        headers = kit.run("readelf", "--wide", "--program-headers", "--section-headers", program)
        self.assertNotIn("INTERP", headers)
        self.assertIn(".dep-v0", headers)
        print(f"image: {sum(layer.stat().st_size for layer in self.image['layers']) / 2**20:.1f} MiB compressed, binary {program.stat().st_size / 2**20:.1f} MiB")

    def test_it_runs_in_its_own_root(self):
        root = self.image["rootfs"]
        said = subprocess.run(["chroot", "--userspec=65532:65532", root, "/usr/local/bin/spop-bridge", "--version"], capture_output=True, text=True, check=True)
        self.assertRegex(said.stdout, r"^spop-bridge \d+\.\d+\.\d+$")


if __name__ == "__main__":
    unittest.main()

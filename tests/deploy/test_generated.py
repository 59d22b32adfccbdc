"""What is made by render.py is what is there, and the README knows every value."""

import re
import unittest

import yaml

import kit
import render


class Generated(unittest.TestCase):
    def test_nothing_is_stale(self):
        for path, content in render.generated():
            with self.subTest(str(path.relative_to(kit.ROOT))):
                self.assertTrue(path.exists() and path.read_text() == content, "stale: run .cache/deploy/bin/python tests/deploy/render.py")

    def test_every_value_has_a_comment(self):
        defaults = yaml.safe_load((kit.CHART / "values.yaml").read_text())
        told = {key for key, _, _ in render.values()}

        def check(tree, prefix):
            for key, value in tree.items():
                path = prefix + key
                below = isinstance(value, dict) and any(each.startswith(path + ".") for each in told)
                if below:
                    check(value, path + ".")
                else:
                    self.assertIn(path, told)

        check(defaults, "")

    def test_schema_and_values_have_the_same_keys(self):
        schema = yaml.safe_load((kit.CHART / "values.schema.json").read_text())
        defaults = yaml.safe_load((kit.CHART / "values.yaml").read_text())

        def check(schema, values, path):
            self.assertIs(schema.get("additionalProperties"), False, path)
            # `global` and `enabled` are Helm's, for charts that have this one as a dependency.
            self.assertEqual(set(schema["properties"]) - ({"global", "enabled"} if not path else set()), set(values), path)
            for key, value in values.items():
                below = schema["properties"][key]
                if isinstance(value, dict) and value and "properties" in below and path + key not in ("config", "resources", "haproxy.resources"):
                    check(below, value, f"{path}{key}.")

        check(schema, defaults, "")

    def test_links(self):
        """Relative links of the READMEs lead somewhere."""
        for path in [kit.CHART / "README.md", *kit.DEPLOY.glob("*/README.md")]:
            for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
                with self.subTest(str(path.relative_to(kit.ROOT)), link=link):
                    self.assertTrue(link.startswith("http") or (path.parent / link).exists())


if __name__ == "__main__":
    unittest.main()

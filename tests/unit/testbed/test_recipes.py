from pathlib import Path

import pytest

from testbed import base, prerequisites
from testbed.base import Recipe
from testbed.image import GUEST
from testbed.virtual import VIRTUAL


def test_the_digest_changes_with_a_file_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x-packages.txt").write_text("a\nb\n")
    (tmp_path / "x-units.txt").write_text("a.timer\n")
    (tmp_path / "x/etc").mkdir(parents=True)
    (tmp_path / "x/etc/one").write_text("1")
    monkeypatch.setattr(base, "RECIPES", tmp_path)
    recipe = Recipe("x")
    seen = [recipe.digest()]
    (tmp_path / "x/etc/one").write_text("2")
    seen.append(recipe.digest())
    (tmp_path / "x/etc/one").rename(tmp_path / "x/etc/two")
    seen.append(recipe.digest())
    (tmp_path / "x-packages.txt").write_text("a\n")
    seen.append(recipe.digest())
    seen.append(recipe.digest(b"more"))
    assert len(set(seen)) == len(seen)


def test_recipes_name_packages_and_units() -> None:
    assert "openssh-server" in base.MACHINE.packages
    assert "cloud-init" in GUEST.packages
    assert "ifupdown" in VIRTUAL.packages
    assert all("." in unit for recipe in (base.MACHINE, GUEST, VIRTUAL) for unit in recipe.units)


def test_every_tool_comes_with_a_package_that_make_up_installs() -> None:
    assert set(prerequisites.TOOLS.values()) == set(prerequisites.packages())


def test_workshop_removes_what_was_built_in_it(tmp_path: Path) -> None:
    with base.workshop(tmp_path, "x") as folder:
        (folder / "half").touch()
        with pytest.raises(BlockingIOError), base.workshop(tmp_path, "x", wait=False):
            pass
        base.sweep(tmp_path)
        assert (folder / "half").exists()
    assert list(tmp_path.iterdir()) == []


def test_sweep_removes_what_a_killed_build_left(tmp_path: Path) -> None:
    (tmp_path / "x.building/root").mkdir(parents=True)
    (tmp_path / "machine-0123").mkdir()
    base.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["machine-0123"]

"""Commands for public data sets: list, show, check, convert."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand

from MISFMLib.commands.base import Command, Report
from MISFMLib.events import EventSink


@dataclass(frozen=True, kw_only=True)
class ListRecipes(Command):
    """List the public data sets that there is a recipe for."""

    def run(self, events: EventSink) -> Report:
        """List the recipes."""
        from MISFMLib.jobs.recipes.recipes import list_recipes

        return list_recipes()


@dataclass(frozen=True, kw_only=True)
class ShowRecipe(Command):
    """Show a recipe: address, licence, labels, what guesses get wrong, published results."""

    recipe: Positional[str]
    """Name of the recipe."""

    def run(self, events: EventSink) -> Report:
        """Show the recipe."""
        from MISFMLib.jobs.recipes.recipes import show_recipe

        return show_recipe(self.recipe)


@dataclass(frozen=True, kw_only=True)
class CheckRecipe(Command):
    """Tell file by file what is missing, unexpected or damaged in a local copy."""

    folder: Positional[Path]
    """The unpacked download."""
    recipe: str | None = None
    """Name of the recipe; recognised by the files when not given."""

    def run(self, events: EventSink) -> Report:
        """Check the copy."""
        from MISFMLib.jobs.recipes.recipes import check_copy

        return check_copy(self.folder, self.recipe, events)


@dataclass(frozen=True, kw_only=True)
class ConvertRecipe(Command):
    """Write a local copy in the layout of the Decathlon, ready for `misfm finetune`."""

    folder: Positional[Path]
    """The unpacked download."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """Folder to write; the same command goes on after a stop."""
    recipe: str | None = None
    """Name of the recipe; recognised by the files when not given."""

    def run(self, events: EventSink) -> Report:
        """Convert the copy."""
        from MISFMLib.jobs.recipes.recipes import convert_copy

        return convert_copy(self.folder, self.output, self.recipe, events)


@dataclass(frozen=True)
class Recipes:
    """List, show, check and convert public data sets."""

    action: OmitSubcommandPrefixes[
        Annotated[ListRecipes, subcommand("list")]
        | Annotated[ShowRecipe, subcommand("show")]
        | Annotated[CheckRecipe, subcommand("check")]
        | Annotated[ConvertRecipe, subcommand("convert")]
    ]

    def run(self, events: EventSink) -> Report:
        """Run the chosen action."""
        return self.action.run(events)

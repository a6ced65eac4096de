"""Lookups that the rules share (cellvit/workflow/graph.py), and the wildcards of the graph."""

from cellvit.config.base import override
from cellvit.config.settings import load_settings
from cellvit.config.strict import check_settings_files, given_values
from cellvit.workflow.data_set import data_set_of
from cellvit.workflow.fingerprint import code_fingerprint as code
from cellvit.workflow.graph import Graph, is_archived
from cellvit.workflow.output_folder import writable_folder

check_settings_files(workflow.configfiles)
override(config, given_values(workflow.config_settings.config_args))  # with the types that Snakemake dropped
CLEAN = str(config.pop("clean", "no"))  # the answer to clean_features where no terminal can be asked; not a setting


def percent(name):
    """Share of what steps ask for, from default-resources of a profile; 100 where it does not say."""
    given = workflow.resource_settings.default_resources or {}
    return int(given[name].value) if name in given else 100


GIVEN = load_settings(config)
writable_folder(Path(GIVEN.results))
graph = Graph(GIVEN, percent("memory_percent"), percent("runtime_percent"), dataset=data_set_of(GIVEN))
SETTINGS = graph.settings  # as they hold for the data set
settings, folds, of_folds, of_shared_decoder = graph.step, graph.folds, graph.of_folds, graph.of_shared_decoder
split_of = graph.split_of
memory, minutes = graph.memory, graph.minutes

FOLDS = SETTINGS.data.folds
SPLITS = list(SETTINGS.splits)
FAMILIES = list(SETTINGS.decoder_families)
REPEATS = list(SETTINGS.repeats)  # decoders of further seeds: family and seed
AVERAGED = graph.averaged
ROUTED = SPLITS if graph.has_organ_head else []  # splits with an OrganHead, whose predictions choose a decoder
# Assumed, not measured: to predict all views of a tile takes about as long as to compute its scores.
PASSES = 2 if AVERAGED else 1
DEVICE = SETTINGS.device
CACHE, CACHE_GB = graph.cache


pathvars:
    results=SETTINGS.results,


wildcard_constraints:
    fold=r"\d+",
    split="|".join(SPLITS),
    family="|".join([*FAMILIES, *REPEATS]),


def of_families(*paths):
    """Function for `input`: paths of the split of a job for every family, that of the shared decoder last."""
    return lambda wildcards: expand(paths, split=wildcards.split, family=FAMILIES)

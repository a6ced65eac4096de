import pandas as pd
import pytest
import run_documents as documents

from cellvit.report.data import ReportData, keyed, pair_decoders


@pytest.fixture(scope="session")
def history() -> pd.DataFrame:
    return documents.history()


@pytest.fixture(scope="session")
def data() -> ReportData:
    trainings = [
        (documents.header("all"), documents.history()),
        (documents.header("epidermal", trained=False), documents.history(trained=False)),
        (documents.header("digestive"), documents.history()),
    ]
    return ReportData(
        settings=documents.SETTINGS,
        dataset=documents.PROVENANCE.dataset,
        marks=documents.PROVENANCE.marks,
        summary=keyed(documents.SUMMARY),
        decoders=pair_decoders(
            documents.SETTINGS,
            trainings,
            watersheds=[documents.watershed("digestive"), documents.watershed("all")],
            evaluations=[documents.evaluation(name, evaluated=name != "epidermal") for name in documents.FAMILIES],
            galleries=[documents.gallery(name) for name in documents.FAMILIES],
            scores={("1", name): documents.scores(name) for name in ("digestive", "all")},
        ),
        routed=(documents.ROUTED,),
        organ_heads=(documents.ORGAN_HEAD,),
        folds_checks=(documents.FOLDS_CHECK,),
        target_checks=(documents.TARGET_CHECK,),
        feature_checks=(documents.FEATURE_CHECK,),
        fold_summaries=(documents.FOLD_SUMMARY,),
        timings=documents.TIMINGS,
    )

"""The estimators of scikit-learn, XGBoost, LightGBM and CatBoost that are compared with their models."""

from __future__ import annotations

import lightgbm
import xgboost
from catboost import CatBoostClassifier, CatBoostRegressor
from sklearn import (
    calibration,
    cluster,
    discriminant_analysis,
    dummy,
    ensemble,
    linear_model,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    svm,
    tree,
)
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from develop.estimator_cases import Case, case

LABELS = ("binary", "three", "names")


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)


def of(name, make, *data, **options):
    return case(name, make, *data, **options)


def _members(kind):
    if kind == "r":
        return [("a", tree.DecisionTreeRegressor(max_depth=4, random_state=0)), ("b", linear_model.Ridge())]
    return [("a", tree.DecisionTreeClassifier(max_depth=4, random_state=0)), ("b", naive_bayes.GaussianNB())]


TREES: list[Case] = [
    *of("DecisionTreeClassifier", lambda: tree.DecisionTreeClassifier(max_depth=6, random_state=0), *LABELS),
    *of("DecisionTreeClassifier", lambda: tree.DecisionTreeClassifier(max_depth=6, random_state=0), "three", nan=True),
    *of(
        "DecisionTreeRegressor",
        lambda: tree.DecisionTreeRegressor(max_depth=6, random_state=0),
        "regression",
        "several",
    ),
    *of(
        "DecisionTreeRegressor", lambda: tree.DecisionTreeRegressor(max_depth=6, random_state=0), "regression", nan=True
    ),
    *of("ExtraTreeClassifier", lambda: tree.ExtraTreeClassifier(max_depth=6, random_state=0), "binary", "three"),
    *of("ExtraTreeRegressor", lambda: tree.ExtraTreeRegressor(max_depth=6, random_state=0), "regression"),
    *of("RandomForestClassifier", lambda: ensemble.RandomForestClassifier(30, random_state=0), *LABELS),
    *of("RandomForestClassifier", lambda: ensemble.RandomForestClassifier(120, max_depth=4, random_state=0), "three"),
    *of("RandomForestClassifier", lambda: ensemble.RandomForestClassifier(20, random_state=0), "three", nan=True),
    *of("RandomForestClassifier", lambda: ensemble.RandomForestClassifier(20, random_state=0), "binary", weights=True),
    *of("RandomForestRegressor", lambda: ensemble.RandomForestRegressor(20, random_state=0), "regression", "several"),
    *of(
        "RandomForestRegressor", lambda: ensemble.RandomForestRegressor(20, random_state=0), "regression", weights=True
    ),
    *of("ExtraTreesClassifier", lambda: ensemble.ExtraTreesClassifier(20, random_state=0), "binary", "three"),
    *of("ExtraTreesRegressor", lambda: ensemble.ExtraTreesRegressor(20, random_state=0), "regression"),
    *of(
        "GradientBoostingClassifier",
        lambda: ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0),
        *LABELS,
    ),
    *of(
        "GradientBoostingClassifier",
        lambda: ensemble.GradientBoostingClassifier(n_estimators=20),
        "binary",
        weights=True,
    ),
    *of(
        "GradientBoosting-exponential",
        lambda: ensemble.GradientBoostingClassifier(loss="exponential", n_estimators=10),
        "binary",
    ),
    *of(
        "GradientBoostingRegressor",
        lambda: ensemble.GradientBoostingRegressor(n_estimators=20, random_state=0),
        "regression",
    ),
    *of(
        "GradientBoosting-huber",
        lambda: ensemble.GradientBoostingRegressor(loss="huber", n_estimators=20),
        "regression",
    ),
    *of("HistGradientBoostingClassifier", lambda: ensemble.HistGradientBoostingClassifier(max_iter=20), *LABELS),
    *of(
        "HistGradientBoostingClassifier",
        lambda: ensemble.HistGradientBoostingClassifier(max_iter=20),
        "three",
        nan=True,
    ),
    *of(
        "HistGradientBoosting-categories",
        lambda: ensemble.HistGradientBoostingClassifier(max_iter=20, categorical_features=[0, 2]),
        "codes",
    ),
    *of("HistGradientBoostingRegressor", lambda: ensemble.HistGradientBoostingRegressor(max_iter=20), "regression"),
    *of(
        "HistGradientBoostingRegressor",
        lambda: ensemble.HistGradientBoostingRegressor(max_iter=20),
        "regression",
        nan=True,
        weights=True,
    ),
    *of(
        "HistGradientBoosting-poisson",
        lambda: ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=20),
        "positive",
    ),
    *of("AdaBoostClassifier", lambda: ensemble.AdaBoostClassifier(n_estimators=10, random_state=0), *LABELS),
    *of(
        "AdaBoost-linear",
        lambda: ensemble.AdaBoostClassifier(linear_model.LogisticRegression(), n_estimators=4),
        "binary",
        "three",
    ),
    *of("AdaBoostRegressor", lambda: ensemble.AdaBoostRegressor(n_estimators=10, random_state=0), "regression"),
    *of("IsolationForest", lambda: ensemble.IsolationForest(n_estimators=20, random_state=0), "regression"),
    *of(
        "BaggingClassifier",
        lambda: ensemble.BaggingClassifier(n_estimators=8, max_features=0.7, random_state=0),
        "binary",
        "three",
    ),
    *of(
        "Bagging-linear",
        lambda: ensemble.BaggingClassifier(scaled(linear_model.LogisticRegression()), n_estimators=3, random_state=0),
        "three",
    ),
    *of(
        "BaggingRegressor",
        lambda: ensemble.BaggingRegressor(n_estimators=8, max_features=0.7, random_state=0),
        "regression",
    ),
]
LIBRARIES: list[Case] = [
    *of("XGBClassifier", lambda: xgboost.XGBClassifier(n_estimators=12, max_depth=4, n_jobs=1), "binary", "three"),
    *of("XGBClassifier", lambda: xgboost.XGBClassifier(n_estimators=12, n_jobs=1), "three", nan=True, weights=True),
    *of(
        "XGBClassifier-dart",
        lambda: xgboost.XGBClassifier(booster="dart", rate_drop=0.3, n_estimators=12, n_jobs=1),
        "binary",
    ),
    *of(
        "XGBClassifier-gblinear", lambda: scaled(xgboost.XGBClassifier(booster="gblinear", n_jobs=1)), "binary", "three"
    ),
    *of(
        "XGBClassifier-several-leaves",
        lambda: xgboost.XGBClassifier(n_estimators=8, multi_strategy="multi_output_tree", tree_method="hist", n_jobs=1),
        "three",
    ),
    *of("XGBRFClassifier", lambda: xgboost.XGBRFClassifier(n_estimators=12, n_jobs=1), "binary", "three"),
    *of("XGBRegressor", lambda: xgboost.XGBRegressor(n_estimators=12, n_jobs=1), "regression", "several"),
    *of(
        "XGBRegressor", lambda: xgboost.XGBRegressor(n_estimators=12, base_score=0.3, n_jobs=1), "regression", nan=True
    ),
    *of(
        "XGBRegressor-poisson",
        lambda: xgboost.XGBRegressor(objective="count:poisson", n_estimators=12, n_jobs=1),
        "positive",
    ),
    *of(
        "XGBRegressor-gamma", lambda: xgboost.XGBRegressor(objective="reg:gamma", n_estimators=12, n_jobs=1), "positive"
    ),
    *of("XGBRFRegressor", lambda: xgboost.XGBRFRegressor(n_estimators=12, n_jobs=1), "regression"),
    *of("LGBMClassifier", lambda: lightgbm.LGBMClassifier(n_estimators=12, verbose=-1, n_jobs=1), *LABELS),
    *of(
        "LGBMClassifier",
        lambda: lightgbm.LGBMClassifier(n_estimators=12, verbose=-1, n_jobs=1),
        "three",
        nan=True,
        weights=True,
    ),
    *of(
        "LGBMClassifier-ova",
        lambda: lightgbm.LGBMClassifier(objective="multiclassova", n_estimators=12, verbose=-1, n_jobs=1),
        "three",
    ),
    *of(
        "LGBMClassifier-rf",
        lambda: lightgbm.LGBMClassifier(
            boosting_type="rf", bagging_freq=1, bagging_fraction=0.6, n_estimators=12, verbose=-1, n_jobs=1
        ),
        "binary",
        "three",
    ),
    *of(
        "LGBMClassifier-dart",
        lambda: lightgbm.LGBMClassifier(boosting_type="dart", n_estimators=12, verbose=-1, n_jobs=1),
        "binary",
    ),
    *of("LGBMRegressor", lambda: lightgbm.LGBMRegressor(n_estimators=12, verbose=-1, n_jobs=1), "regression"),
    *of("LGBMRegressor", lambda: lightgbm.LGBMRegressor(n_estimators=12, verbose=-1, n_jobs=1), "regression", nan=True),
    *of(
        "LGBMRegressor-poisson",
        lambda: lightgbm.LGBMRegressor(objective="poisson", n_estimators=12, verbose=-1, n_jobs=1),
        "positive",
    ),
    *of(
        "LGBMRegressor-sqrt",
        lambda: lightgbm.LGBMRegressor(reg_sqrt=True, n_estimators=12, verbose=-1, n_jobs=1),
        "positive",
    ),
    *of(
        "CatBoostClassifier",
        lambda: CatBoostClassifier(iterations=12, depth=4, verbose=False, thread_count=1, allow_writing_files=False),
        *LABELS,
    ),
    *of(
        "CatBoostClassifier",
        lambda: CatBoostClassifier(iterations=12, depth=4, verbose=False, thread_count=1, allow_writing_files=False),
        "three",
        nan=True,
        weights=True,
    ),
    *of(
        "CatBoostClassifier-depthwise",
        lambda: CatBoostClassifier(
            iterations=12, depth=4, grow_policy="Depthwise", verbose=False, thread_count=1, allow_writing_files=False
        ),
        "binary",
        "three",
    ),
    *of(
        "CatBoostRegressor",
        lambda: CatBoostRegressor(iterations=12, depth=4, verbose=False, thread_count=1, allow_writing_files=False),
        "regression",
    ),
    *of(
        "CatBoostRegressor-max",
        lambda: CatBoostRegressor(
            iterations=12, depth=4, nan_mode="Max", verbose=False, thread_count=1, allow_writing_files=False
        ),
        "regression",
        nan=True,
    ),
    *of(
        "CatBoostRegressor-poisson",
        lambda: CatBoostRegressor(
            iterations=12, depth=4, loss_function="Poisson", verbose=False, thread_count=1, allow_writing_files=False
        ),
        "positive",
    ),
]
LINEAR: list[Case] = [
    *of("LinearRegression", linear_model.LinearRegression, "regression", "several"),
    *of("LinearRegression", linear_model.LinearRegression, "regression", weights=True),
    *of("Ridge", linear_model.Ridge, "regression"),
    *of("RidgeCV", linear_model.RidgeCV, "regression"),
    *of("Lasso", lambda: linear_model.Lasso(alpha=0.1), "regression"),
    *of("LassoCV", lambda: linear_model.LassoCV(cv=3), "regression"),
    *of("ElasticNet", lambda: linear_model.ElasticNet(alpha=0.1), "regression"),
    *of("ElasticNetCV", lambda: linear_model.ElasticNetCV(cv=3), "regression"),
    *of("Lars", linear_model.Lars, "regression"),
    *of("LassoLars", lambda: linear_model.LassoLars(alpha=0.01), "regression"),
    *of("OrthogonalMatchingPursuit", linear_model.OrthogonalMatchingPursuit, "regression"),
    *of("BayesianRidge", linear_model.BayesianRidge, "regression"),
    *of("ARDRegression", linear_model.ARDRegression, "regression"),
    *of("HuberRegressor", lambda: scaled(linear_model.HuberRegressor()), "regression"),
    *of(
        "TheilSenRegressor", lambda: linear_model.TheilSenRegressor(random_state=0, max_subpopulation=100), "regression"
    ),
    *of("RANSACRegressor", lambda: linear_model.RANSACRegressor(random_state=0), "regression"),
    *of("QuantileRegressor", lambda: linear_model.QuantileRegressor(alpha=0.01), "regression"),
    *of("SGDRegressor", lambda: scaled(linear_model.SGDRegressor(random_state=0)), "regression"),
    *of(
        "PassiveAggressiveRegressor",
        lambda: scaled(linear_model.PassiveAggressiveRegressor(random_state=0)),
        "regression",
    ),
    *of("LinearSVR", lambda: scaled(svm.LinearSVR(random_state=0)), "regression"),
    *of("PoissonRegressor", lambda: scaled(linear_model.PoissonRegressor()), "positive"),
    *of("GammaRegressor", lambda: scaled(linear_model.GammaRegressor()), "positive"),
    *of("TweedieRegressor", lambda: scaled(linear_model.TweedieRegressor(power=1.5)), "positive"),
    *of("TweedieRegressor-normal", lambda: linear_model.TweedieRegressor(power=0), "regression"),
    *of("MultiTaskLasso", lambda: linear_model.MultiTaskLasso(alpha=0.1), "several"),
    *of("PLSRegression", PLSRegression, "regression", "several"),
    *of("LogisticRegression", lambda: scaled(linear_model.LogisticRegression()), *LABELS),
    *of("LogisticRegression-plain", lambda: linear_model.LogisticRegression(max_iter=50), "three"),
    *of("LogisticRegressionCV", lambda: scaled(linear_model.LogisticRegressionCV(Cs=3, cv=3)), "binary", "three"),
    *of("SGDClassifier-log", lambda: scaled(linear_model.SGDClassifier(loss="log_loss", random_state=0)), *LABELS),
    *of(
        "SGDClassifier-huber",
        lambda: scaled(linear_model.SGDClassifier(loss="modified_huber", random_state=0)),
        "binary",
        "three",
    ),
    *of("SGDClassifier-hinge", lambda: scaled(linear_model.SGDClassifier(random_state=0)), "binary", "three"),
    *of("Perceptron", lambda: scaled(linear_model.Perceptron(random_state=0)), "binary", "three"),
    *of(
        "PassiveAggressiveClassifier",
        lambda: scaled(linear_model.PassiveAggressiveClassifier(random_state=0)),
        "binary",
        "three",
    ),
    *of("RidgeClassifier", linear_model.RidgeClassifier, "binary", "three"),
    *of("RidgeClassifierCV", linear_model.RidgeClassifierCV, "three"),
    *of("LinearSVC", lambda: scaled(svm.LinearSVC(random_state=0)), "binary", "three", "names"),
    *of("LinearDiscriminantAnalysis", discriminant_analysis.LinearDiscriminantAnalysis, *LABELS),
    *of(
        "LinearDiscriminantAnalysis-eigen",
        lambda: discriminant_analysis.LinearDiscriminantAnalysis(solver="eigen"),
        "three",
    ),
    *of("QuadraticDiscriminantAnalysis", discriminant_analysis.QuadraticDiscriminantAnalysis, *LABELS),
]
OTHERS: list[Case] = [
    *of("GaussianNB", naive_bayes.GaussianNB, *LABELS),
    *of("GaussianNB", naive_bayes.GaussianNB, "three", weights=True),
    *of("MultinomialNB", naive_bayes.MultinomialNB, "counts"),
    *of("ComplementNB", naive_bayes.ComplementNB, "counts"),
    *of("BernoulliNB", lambda: naive_bayes.BernoulliNB(binarize=1.0), *LABELS),
    *of("CategoricalNB", lambda: naive_bayes.CategoricalNB(min_categories=4), "codes"),
    *of("SVC", lambda: scaled(svm.SVC()), *LABELS),
    *of("SVC-linear", lambda: scaled(svm.SVC(kernel="linear")), "three"),
    *of("SVC-poly", lambda: scaled(svm.SVC(kernel="poly", coef0=1)), "three"),
    *of("SVC-sigmoid", lambda: scaled(svm.SVC(kernel="sigmoid")), "binary"),
    *of("NuSVC", lambda: scaled(svm.NuSVC(nu=0.3)), "binary", "three"),
    *of("SVR", lambda: scaled(svm.SVR()), "regression"),
    *of("NuSVR", lambda: scaled(svm.NuSVR(kernel="poly")), "regression"),
    *of("OneClassSVM", lambda: scaled(svm.OneClassSVM(nu=0.2)), "regression"),
    *of("KNeighborsClassifier", lambda: scaled(neighbors.KNeighborsClassifier()), *LABELS),
    *of(
        "KNeighborsClassifier-distance",
        lambda: scaled(neighbors.KNeighborsClassifier(7, weights="distance", p=1)),
        "three",
    ),
    *of("KNeighborsRegressor", lambda: scaled(neighbors.KNeighborsRegressor()), "regression", "several"),
    *of(
        "KNeighborsRegressor-distance",
        lambda: scaled(neighbors.KNeighborsRegressor(4, weights="distance", p=3)),
        "regression",
    ),
    *of("NearestCentroid", lambda: scaled(neighbors.NearestCentroid()), "binary", "three"),
    *of("KMeans", lambda: scaled(cluster.KMeans(4, random_state=0)), "regression"),
    *of("MLPClassifier", lambda: scaled(neural_network.MLPClassifier((12, 8), max_iter=40, random_state=0)), *LABELS),
    *of(
        "MLPClassifier-tanh",
        lambda: scaled(neural_network.MLPClassifier((12,), activation="tanh", max_iter=40, random_state=0)),
        "three",
    ),
    *of(
        "MLPRegressor",
        lambda: scaled(
            neural_network.MLPRegressor(hidden_layer_sizes=(12,), activation="logistic", max_iter=40, random_state=0)
        ),
        "regression",
        "several",
    ),
    *of(
        "VotingClassifier-soft",
        lambda: ensemble.VotingClassifier(_members("c"), voting="soft", weights=[1, 2]),
        *LABELS,
    ),
    *of(
        "VotingClassifier-hard",
        lambda: ensemble.VotingClassifier([*_members("c"), ("c", scaled(svm.LinearSVC(random_state=0)))]),
        "binary",
        "three",
    ),
    *of("VotingRegressor", lambda: ensemble.VotingRegressor(_members("r")), "regression"),
    *of(
        "StackingClassifier",
        lambda: ensemble.StackingClassifier(
            _members("c"), cv=2, passthrough=True, final_estimator=scaled(linear_model.LogisticRegression())
        ),
        *LABELS,
    ),
    *of("StackingRegressor", lambda: ensemble.StackingRegressor(_members("r"), cv=2), "regression"),
    *of(
        "CalibratedClassifierCV",
        lambda: calibration.CalibratedClassifierCV(scaled(svm.LinearSVC(random_state=0)), cv=2),
        *LABELS,
    ),
    *of(
        "CalibratedClassifierCV-svc",
        lambda: calibration.CalibratedClassifierCV(scaled(svm.SVC()), cv=2),
        "binary",
        "three",
    ),
    *of("VotingClassifier-svc", lambda: ensemble.VotingClassifier([("c", scaled(svm.SVC())), *_members("c")]), "three"),
    *of(
        "CalibratedClassifierCV-isotonic",
        lambda: calibration.CalibratedClassifierCV(naive_bayes.GaussianNB(), method="isotonic", cv=2),
        "binary",
        "three",
    ),
    *of(
        "OneVsRestClassifier",
        lambda: multiclass.OneVsRestClassifier(scaled(linear_model.LogisticRegression())),
        "binary",
        "three",
    ),
    *of(
        "OneVsRest-trees",
        lambda: multiclass.OneVsRestClassifier(
            tree.DecisionTreeClassifier(max_depth=4, min_samples_leaf=9, random_state=0)
        ),
        "three",
    ),
    *of("MultiOutputRegressor", lambda: multioutput.MultiOutputRegressor(linear_model.Ridge()), "several"),
    *of(
        "TransformedTargetRegressor",
        lambda: TransformedTargetRegressor(linear_model.Ridge(), transformer=MinMaxScaler()),
        "regression",
    ),
    *of(
        "TransformedTarget-log",
        lambda: TransformedTargetRegressor(
            scaled(linear_model.Ridge()), func=__import__("numpy").log, inverse_func=__import__("numpy").exp
        ),
        "positive",
    ),
    *of(
        "GridSearchCV",
        lambda: GridSearchCV(scaled(linear_model.Ridge()), {"ridge__alpha": [0.1, 1.0]}, cv=2),
        "regression",
    ),
    *of("DummyClassifier", dummy.DummyClassifier, "three"),
    *of("DummyRegressor", dummy.DummyRegressor, "regression"),
]
ALL = [*TREES, *LIBRARIES, *LINEAR, *OTHERS]
__all__ = ["ALL", "IsotonicRegression"]

"""The simulators behind the bundled data sets: run ``python -m melogit.datasets.generators`` to write them again.

Every outcome is drawn from a mixed logit whose seed and true parameters stand in the JSON file beside the data, so
that an answer can be compared with the truth. Predictors are rounded first and the outcome is drawn from the rounded
values: what is in the file is exactly what the model saw.

The random stream is NumPy's ``RandomState``, whose numbers are frozen for all versions to come (those of
``Generator`` may change), and the compressed files carry no time stamp: the same bytes come out every time.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import RandomState
from numpy.typing import NDArray

FILES = Path(__file__).parent / "files"

Array = NDArray[Any]
Facts = dict[str, Any]


def read_facts(name: str) -> Facts:
    """Read the JSON file of a bundled data set: title, seed, formula, columns and true parameters."""
    return json.loads((FILES / f"{name}.json").read_text(encoding="utf-8"))


def linear_predictor(data: pd.DataFrame, coefficients: Mapping[str, float]) -> Array:
    """Add up the fixed part of the linear predictor, ``Column[level]`` standing for an indicator. Returns (n,)."""
    eta = np.full(len(data), coefficients["Intercept"])
    for name, value in coefficients.items():
        if name.endswith("]"):
            column, level = name[:-1].split("[")
            eta += value * (data[column] == level).to_numpy(dtype=float)
        elif name != "Intercept":
            eta += value * data[name].to_numpy(dtype=float)
    return eta


def draw_outcome(random: RandomState, eta: Array) -> Array:
    """0/1 outcomes with probability ``1 / (1 + exp(-eta))``. Returns (n,) of integers."""
    return (random.uniform(size=len(eta)) < 1 / (1 + np.exp(-eta))).astype(int)


def draw_effects(random: RandomState, variance: float, groups: int) -> Array:
    """Draw normal random intercepts. Returns (groups,)."""
    return random.normal(0, np.sqrt(variance), groups)


def choose(random: RandomState, labels: Mapping[str, float], size: int) -> Array:
    """Draw ``size`` labels with the given probabilities. Returns (size,) of text."""
    return np.array(list(labels), dtype=object)[random.choice(len(labels), size=size, p=list(labels.values()))]


def simulate_doctors(random: RandomState, hospitals: int, doctors: int) -> pd.DataFrame:
    """One row per doctor, every hospital having at least one; ``patients`` is how many the doctor treats."""
    house = np.sort(np.concatenate([np.arange(hospitals), random.choice(hospitals, doctors - hospitals)]))
    return pd.DataFrame(
        {
            "DID": np.arange(doctors) + 1,
            "Experience": np.clip(random.normal(17.6, 4.1, doctors).round(), 7, 29).astype(int),
            "School": choose(random, {"average": 0.75, "top": 0.25}, doctors),
            "Lawsuits": random.poisson(1.9, doctors),
            "HID": house + 1,
            "Medicaid": random.uniform(0.14, 0.82, hospitals).round(3)[house],
            "patients": np.clip(random.poisson(20, doctors) + random.choice(np.arange(-14, 15), doctors), 2, 40),
        }
    )


def simulate_patients(random: RandomState, n: int) -> pd.DataFrame:
    """Simulate ``n`` patients, the outcome still to be drawn; a later stage goes with worse measurements."""
    stage = choose(random, {"I": 0.3, "II": 0.4, "III": 0.2, "IV": 0.1}, n)
    severity = pd.Series(stage).map({"I": 0.0, "II": 1.0, "III": 2.0, "IV": 3.0}).to_numpy(dtype=float)
    smoking = choose(random, {"current": 0.2, "former": 0.2, "never": 0.6}, n)
    smoker = (smoking != "never").astype(float)

    def score(mean: Array, sd: float, low: int, high: int) -> Array:
        return np.clip((mean + random.normal(0, sd, n)).round(), low, high).astype(int)

    return pd.DataFrame(
        {
            "tumorsize": (65 + 5 * severity + random.normal(0, 10, n)).round(1),
            "co2": random.normal(1.6, 0.12, n).round(2),
            "pain": score(4.9 + 0.5 * severity, 1.4, 1, 9),
            "wound": score(5.2 + 0.5 * severity, 1.4, 1, 9),
            "mobility": score(5.6 + 0.5 * severity, 1.4, 1, 9),
            "ntumors": np.clip(random.poisson(1.5 + 1.4 * severity), 0, 9),
            "nmorphine": random.poisson(2.5 + severity),
            "remission": 0,
            "lungcapacity": (1 / (1 + np.exp(-random.normal(1.6 - 0.6 * smoker, 0.8, n)))).round(2),
            "Age": random.normal(51, 6.3, n).round(1),
            "Married": (random.uniform(size=n) < 0.6).astype(int),
            "FamilyHx": choose(random, {"no": 0.8, "yes": 0.2}, n),
            "SmokingHx": smoking,
            "Sex": choose(random, {"female": 0.6, "male": 0.4}, n),
            "CancerStage": stage,
            "LengthofStay": score(5.2 + 0.3 * severity, 1.0, 1, 10),
            "WBC": random.normal(6000, 1000, n).round().astype(int),
            "RBC": random.normal(5, 0.29, n).round(2),
            "BMI": np.clip(random.normal(29, 6.5, n), 18, 58).round(1),
            "IL6": random.gamma(2.0, 2.0, n).round(2),
            "CRP": random.gamma(2.5, 2.0, n).round(2),
        }
    )


def hospital(facts: Facts) -> pd.DataFrame:
    """Patients of 150 doctors in 20 hospitals; the outcome is remission of a cancer."""
    random = RandomState(facts["seed"])
    hospitals, doctors = 20, 150
    doctor_table = simulate_doctors(random, hospitals, doctors)
    doctor = np.repeat(np.arange(doctors), doctor_table.pop("patients"))
    patients = simulate_patients(random, len(doctor))
    data = pd.concat([patients, doctor_table.iloc[doctor].reset_index(drop=True)], axis=1)
    variance = facts["true_variance"]
    hospital_effect = draw_effects(random, variance["HID:var(Intercept)"], hospitals)
    doctor_effect = draw_effects(random, variance["HID:DID:var(Intercept)"], doctors)
    eta = linear_predictor(data, facts["true_fixed"]) + hospital_effect[data["HID"] - 1] + doctor_effect[doctor]
    data["remission"] = draw_outcome(random, eta)
    return data


def retail(facts: Facts) -> pd.DataFrame:
    """Sessions of 400 consumers in an online shop, 4 to 12 each; the outcome is a purchase."""
    random = RandomState(facts["seed"])
    consumers = 400
    sessions = random.choice(np.arange(4, 13), consumers)
    consumer = np.repeat(np.arange(consumers), sessions)
    n = len(consumer)
    member = choose(random, {"no": 0.65, "yes": 0.35}, consumers)
    patience = random.normal(2.3, 0.4, consumers)
    data = pd.DataFrame(
        {
            "consumer": consumer + 1,
            "session": np.concatenate([np.arange(1, count + 1) for count in sessions]),
            "member": member[consumer],
            "device": choose(random, {"computer": 0.4, "phone": 0.45, "tablet": 0.15}, n),
            "discount": random.choice([0, 5, 10, 20], size=n, p=[0.55, 0.2, 0.15, 0.1]),
            "minutes": np.clip(np.exp(patience[consumer] + random.normal(0, 0.6, n)), 0.1, 90).round(1),
        }
    )
    effect = draw_effects(random, facts["true_variance"]["consumer:var(Intercept)"], consumers)
    data["purchase"] = draw_outcome(random, linear_predictor(data, facts["true_fixed"]) + effect[consumer])
    return data


def admissions(facts: Facts) -> pd.DataFrame:
    """Applicants to 40 colleges; how much the test counts differs between colleges."""
    random = RandomState(facts["seed"])
    colleges = 40
    college = np.repeat(np.arange(colleges), random.choice(np.arange(30, 91), colleges))
    n = len(college)
    public = choose(random, {"no": 0.5, "yes": 0.5}, colleges)
    ability = random.normal(0, 1, n)
    data = pd.DataFrame(
        {
            "college": [f"C{number + 1:02d}" for number in college],
            "public": public[college],
            "instate": choose(random, {"no": 0.6, "yes": 0.4}, n),
            "test": (0.7 * ability + random.normal(0, 0.7, n)).round(2),
            "grades": (0.6 * ability + random.normal(0, 0.8, n)).round(2),
            "essay": random.choice(np.arange(-2, 3), n),
        }
    )
    variance = facts["true_variance"]
    z = random.normal(size=(2, colleges))
    # the 2 x 2 Cholesky factor of the covariance of (intercept, slope), written out
    level = np.sqrt(variance["college:var(Intercept)"])
    shared = variance["college:cov(Intercept,test)"] / level
    own = np.sqrt(variance["college:var(test)"] - shared**2)
    eta = linear_predictor(data, facts["true_fixed"])
    eta += level * z[0][college] + (shared * z[0] + own * z[1])[college] * data["test"].to_numpy()
    data["admitted"] = draw_outcome(random, eta)
    return data


def tv(facts: Facts) -> pd.DataFrame:
    """400 people in 4 cities over 6 months; a campaign for a TV channel runs in two cities after month 3."""
    random = RandomState(facts["seed"])
    cities, people_per_city, months = ["Eastbrook", "Harbour", "Lakeside", "Northgate"], 100, 6
    people = len(cities) * people_per_city
    person = np.repeat(np.arange(people), months)
    month = np.tile(np.arange(1, months + 1), people)
    city = np.array(cities, dtype=object)[person // people_per_city]
    treated = np.isin(city, ["Harbour", "Northgate"])
    age = np.clip(random.normal(44, 15, people).round(), 18, 85).astype(int)
    data = pd.DataFrame(
        {
            "person": person + 1,
            "city": city,
            "month": month,
            "treated": treated.astype(int),
            "campaign": (treated & (month > 3)).astype(int),
            "age": age[person],
        }
    )
    effect = draw_effects(random, facts["true_variance"]["person:var(Intercept)"], people)
    data["watched"] = draw_outcome(random, linear_predictor(data, facts["true_fixed"]) + effect[person])
    return data


def exam(facts: Facts) -> pd.DataFrame:
    """150 students, each with 20 questions from a pool of 40: students and questions cross."""
    random = RandomState(facts["seed"])
    students, pool, asked = 150, 40, 20
    student = np.repeat(np.arange(students), asked)
    question = np.concatenate([random.permutation(pool)[:asked] for _ in range(students)])
    hours = np.clip(random.normal(5, 2, students).round(), 0, 12).astype(int)
    kind = choose(random, {"choice": 0.6, "open": 0.4}, pool)
    data = pd.DataFrame(
        {
            "student": student + 1,
            "question": [f"Q{number + 1:02d}" for number in question],
            "hours": hours[student],
            "kind": kind[question],
            "position": np.tile(np.arange(1, asked + 1), students),
        }
    )
    variance = facts["true_variance"]
    ability = draw_effects(random, variance["student:var(Intercept)"], students)
    ease = draw_effects(random, variance["question:var(Intercept)"], pool)
    eta = linear_predictor(data, facts["true_fixed"]) + ability[student] + ease[question]
    data["correct"] = draw_outcome(random, eta)
    return data


GENERATORS: dict[str, Callable[[Facts], pd.DataFrame]] = {
    "hospital": hospital,
    "retail": retail,
    "admissions": admissions,
    "tv": tv,
    "exam": exam,
}


def csv_bytes(data: pd.DataFrame) -> bytes:
    """Return the text of the CSV file, the same on every operating system."""
    return data.to_csv(index=False, lineterminator="\n").encode()


def write_all(folder: Path) -> list[Path]:
    """Simulate every bundled data set and write ``NAME.csv.gz`` to ``folder``; returns the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, generate in GENERATORS.items():
        path = folder / f"{name}.csv.gz"
        path.write_bytes(gzip.compress(csv_bytes(generate(read_facts(name))), compresslevel=9, mtime=0))
        written.append(path)
    return written


if __name__ == "__main__":
    for path in write_all(FILES):
        print(f"{path.name}: {path.stat().st_size:,} bytes")

from appliance.container.context import for_models

DOCKERFILE = """\
ARG MODEL=base
COPY models/${MODEL} /models/${MODEL}
COPY app /opt/wlk/app
ENV WLK_MODEL=${MODEL}
"""


def test_each_model_is_copied_by_a_step_of_its_own() -> None:
    assert for_models(DOCKERFILE, ["base", "small.en"]).splitlines() == [
        "ARG MODEL=base",
        "COPY models/base /models/base",
        "COPY models/small.en /models/small.en",
        "COPY app /opt/wlk/app",
        "ENV WLK_MODEL=${MODEL}",
    ]

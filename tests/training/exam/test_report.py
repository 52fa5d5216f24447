from training.exam.report import pooled


def test_pooled_scores_weigh_every_prompt_alike():
    few = {"scores": {"shape": {"percent": 66.7, "n": 3}}}
    many = {"scores": {"shape": {"percent": 14.3, "n": 7}}}
    assert pooled([few, many]) == {"shape": (30.0, 10)}  # 2 and 1 of 10

"""Several seeds, for whatever comes after them to be made once with each."""

from comfy_api.latest import io

from ...engine.cluster.address import HERE, workers_address
from ...host.comfyui.node_text import show_text
from ..inputs.kinds import Whole, verdict
from ..inputs.shared import SEED, WORKERS, found_by

COUNT = Whole("count", 1, 64, default=4)


class Variations(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeVariations",
            display_name="Variations (Longtake)",
            category="Longtake/Sample",
            **found_by("seeds, batch, compare, grid, x/y plot"),
            description="Several seeds, one after another: what they are connected to, and all "
            "that follows, is made once with each. Side by Side shows the results as one video.",
            inputs=[
                SEED.widget("The first seed; each further one is larger by 1."),
                COUNT.widget("How many. Time grows with it; memory does not."),
                WORKERS.widget(
                    "this ComfyUI, or a Ray cluster on your network whose machines sample a Long "
                    "Take with several seeds at a time: auto, or HOST:PORT of its head."
                ),
            ],
            outputs=[
                io.Int.Output(
                    display_name="seed",
                    is_output_list=True,
                    tooltip="For the seed of Sample, Long Take or any other sampler.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, workers=HERE) -> bool | str:
        return verdict((workers_address, workers))

    @classmethod
    def execute(cls, seed: int, count: int, workers: str = HERE) -> io.NodeOutput:
        workers_address(workers)  # Long Take reads it in the graph
        first, many = SEED.read(seed), COUNT.read(count)
        seeds = [(first + n) % (SEED.high + 1) for n in range(many)]
        show_text(f"{many} seed{'s' if many > 1 else ''}: {seeds[0]} to {seeds[-1]}")
        return io.NodeOutput(seeds)

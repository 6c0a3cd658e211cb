"""Rewards for other trainers, in the real loops of TRL and verifiers, with a tiny model."""

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from semcoder import reinforcement
from semcoder.core import Checkpoint, Variant, Verdict, open_run
from semcoder.environments import export_prompts, prompt_rows, trl_reward
from semcoder.llm import Sampling, load_engine, model_path, weights_digest

MODEL = "micro-base"


def test_trl_trains_on_the_reward(tmp_path: Path):
    """Two steps of TRL's GRPOTrainer; the reward function is called and logged."""
    pytest.importorskip("trl", reason="TRL is not installed: pip install 'semcoder[rl]'")
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    rows = prompt_rows(open_run("demo"), "forward/direct")
    short = sorted(rows, key=lambda row: len(row["prompt"]))[:4]
    options = GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=8,
        logging_steps=1,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
    )
    trainer = GRPOTrainer(
        model=str(model_path(MODEL)),
        reward_funcs=trl_reward("outcome"),
        args=options,
        train_dataset=Dataset.from_list(short),
    )
    trainer.train()
    logged = [row for row in trainer.state.log_history if "rewards/semcoder_outcome/mean" in row]
    assert len(logged) == 2
    assert all(0 <= row["rewards/semcoder_outcome/mean"] <= 1 for row in logged)


HARNESS = '''"""A harness that asks the model once, in this process."""

import httpx
import verifiers.v1 as vf


class OneTurn(vf.Harness[vf.HarnessConfig]):
    EXECUTES_CODE = NEEDS_CONTAINER = False

    async def launch(self, ctx, trace, runtime, endpoint, secret, mcp_urls, data, **options):
        body = {"model": ctx.model, "messages": [{"role": "user", "content": data.prompt}]}
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(timeout=60) as client:
            reply = await client.post(f"{endpoint}/chat/completions", json=body, headers=headers)
        reply.raise_for_status()
        return vf.ProgramResult(0, "", "")


__all__ = ["OneTurn"]
'''


class _Server(BaseHTTPRequestHandler):
    """Answers as an OpenAI server does, with texts of the engine in `engine`."""

    engine = None

    def do_POST(self):  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        [[text]] = self.engine.generate([body["messages"][-1]["content"]], Sampling(max_tokens=8))
        message = {"role": "assistant", "content": text}
        reply = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        content = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_verifiers_scores_rollouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Episodes of the exported taskset, from its file to the reward on the trace."""
    vf = pytest.importorskip(
        "verifiers.v1", reason="verifiers is not installed: pip install 'semcoder[rl]'"
    )
    from verifiers.v1.utils.loaders import load_environment

    folder = tmp_path / "prompts"
    export_prompts(open_run("demo"), folder, "forward/direct")
    (folder / "one_turn.py").write_text(HARNESS)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("TINY_KEY", "none")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    _Server.engine = load_engine(MODEL)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    taskset = {"id": "semcoder-runs", "path": str(folder / "train.parquet"), "rule": "outcome"}
    agent = {"harness": {"id": "one-turn"}, "runtime": {"type": "subprocess"}}
    settings = vf.SingleAgentEnvConfig(taskset=taskset, agent=agent)
    url = f"http://127.0.0.1:{server.server_port}/v1"
    client = vf.EvalClientConfig(base_url=url, api_key_var="TINY_KEY")
    context = vf.ModelContext(model=MODEL, client=client)

    async def episodes() -> list:
        env = load_environment(settings)
        tasks = list(env.taskset.take(2))
        async with env.serving():
            slots = [slot for task in tasks for slot in env.slots(task, 2)]
            return [await env.run_slot(slot, context, None, _ignore) for slot in slots]

    async def _ignore(episode: object) -> None:
        pass

    finished = asyncio.run(episodes())
    server.shutdown()
    traces = [trace for episode in finished for trace in episode.traces]
    assert len(traces) == 4, finished[0].errors
    assert all(not trace.errors for trace in traces), traces[0]
    assert all(0 <= trace.rewards["semcoder"].value <= 1 for trace in traces), traces[0].rewards
    assert "one_turn" in sys.modules


def test_learning_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A learner that is made again repeats what was lost, and ends in the same rows and weights."""

    def every_second(bench: object, completions: list) -> list[reinforcement.Grade]:
        """Grades by which every second text is right, so that there is something to learn."""
        verdicts = [Verdict(c.item_id, c.k, c.k % 2 == 0, "ok") for c in completions]
        return [reinforcement.Grade(verdict, None) for verdict in verdicts]

    monkeypatch.setattr(reinforcement, "grade", every_second)
    sampling = Sampling(1.0, max_tokens=6)
    bench, settings = reinforcement.practice_of(open_run("demo"), "forward/direct", sampling)
    bench.items = bench.items[:4]
    config = reinforcement.ReinforcementConfig(
        steps=3, prompts_per_step=2, group_size=2, policy_lr=1e-3, max_new_tokens=6, device="cpu"
    )
    variant = Variant("outcome", "reward", "direct", "forward/direct", seed=0)

    def learner(name: str) -> reinforcement.Learner:
        return reinforcement.Learner(variant, config, MODEL, [(bench, settings)], tmp_path / name)

    whole = learner("whole")
    for number in range(3):
        rows = whole.advance([number])
    killed = learner("killed")
    killed.advance([0])
    killed.advance([1])
    again = learner("killed").advance([2])
    assert [row for row in again if not isinstance(row, Checkpoint)] == rows[:-1]
    assert again[-1].weights == rows[-1].weights != weights_digest(model_path(MODEL))

"""The SDK agrees with references/sdk/vectors.json."""

import json
import os
import struct
import unittest

import judge  # noqa: F401  finds the SDK
from lockstep_sdk.digest import DIGESTS
from lockstep_sdk.draws import Draws, Sites, blocks, expand
from lockstep_sdk.errors import BadRequest
from lockstep_sdk.schema import Action
from lockstep_sdk.tokens import LegalSets, continuous, decoder

with open(os.path.join(judge.HERE, "..", "..", "vectors.json"), encoding="utf-8") as file:
    VECTORS = json.load(file)


class Vectors(unittest.TestCase):
    def test_threefry_of_zeros_gives_the_known_answer_in_all_sixteen_slots(self):
        words = VECTORS["threefry4x32_20"][0]["words"]
        self.assertEqual(blocks(expand(0, 0), [0] * 16, [0] * 16), words * 16)

    def test_seeded_draws_agree_when_started_at_any_index(self):
        for case in VECTORS["draws_seeded"]:
            header = int(case["seed"], 16), int(case["stream"], 16), case["episode"]
            draws = Draws(Sites([], True))
            draws.start(*header, case["index"])
            self.assertEqual(draws.word(), case["word"], case)
            draws.start(*header, case["index"])
            self.assertEqual(draws.below(case["bound"]), case["below"], case)
            self.assertEqual(draws.index, case["index"] + 1)

    def test_seeded_draws_in_order_agree_with_draws_at_an_index_through_many_episodes(self):
        running, jumping = Draws(Sites([], True)), Draws(Sites([], True))
        running.start(3, 4, 0)
        for episode, length in enumerate((1, 5, 16, 17, 70, 300, 0, 33)):
            if episode:
                running.next_episode(episode)
            for index in range(length):
                jumping.start(3, 4, episode, index)
                self.assertEqual(running.word(), jumping.word(), (episode, index))

    def test_listed_draws_end_in_zeros_and_can_be_appended_to(self):
        case = VECTORS["draws_listed"][0]
        draws = Draws(Sites([], True))
        draws.start(0, 0, 0, 0, list(case["values"]))
        results = [draws.word() if bound == 1 << 32 else draws.below(bound) for bound in case["bounds"]]
        self.assertEqual(results, case["results"])
        self.assertEqual(draws.log[1::3], case["bounds"])

    def test_digests_and_chains_agree(self):
        self.assertIn("blake2b", DIGESTS)
        for name, digest in DIGESTS.items():
            for case in VECTORS["digests"]:
                self.assertEqual(digest(int(case["seed"], 16), bytes.fromhex(case["bytes"])), int(case[name], 16))
            for case in VECTORS["chains"]:
                chain = int(case["seed"], 16)
                for part in case["parts"]:
                    chain = digest(chain, bytes.fromhex(part))
                self.assertEqual(chain, int(case[name], 16))

    def test_discrete_tokens_decode_with_mask_and_extra(self):
        for case in VECTORS["tokens_discrete"]:
            legal = case.get("legal")
            action = Action({"kind": "discrete", "count": case["count"], "extra": case["extra"], "mask": legal is not None}, 1)
            choices = range(case["count"])
            if legal is not None:
                bools = tuple(place in legal for place in range(case["count"]))
                choices = LegalSets(case["count"], 2)[bools][1]
                bits = sum(1 << place for place in legal)
                self.assertEqual(LegalSets(case["count"], 2)[bits], LegalSets(case["count"], 2)[bools])
            self.assertEqual(decoder(action, 1)([case["token"]], [choices]), [case["action"]], case)
            # Who isn't deciding does nothing, whatever the token says.
            self.assertEqual(decoder(action, 1)([case["token"]], [None]), [0])

    def test_continuous_tokens_are_floats_rotated_and_never_infinite(self):
        for case in VECTORS["tokens_continuous"]:
            if case["accepted"]:
                self.assertEqual(struct.pack("<f", continuous(case["token"])), struct.pack("<I", case["bits"]))
            else:
                self.assertRaises(BadRequest, continuous, case["token"])


if __name__ == "__main__":
    unittest.main()

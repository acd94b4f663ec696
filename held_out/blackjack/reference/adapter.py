"""Makes BlackjackEnv speak Lockstep. Written by `lockstep new`; change what it got wrong.

`canonical` reads every field of env.toml from the environment, `look` the numbers of an observation. The base class is
lockstep_sdk/gym.py; it also takes over Python's and numpy's generators, so it is imported before the environment.
"""

import os
import sys

sys.path.insert(0, os.environ["LOCKSTEP_SDK"])

import lockstep_sdk  # noqa: E402
from lockstep_sdk.gym import GymLane, flat, padded  # noqa: E402


class BlackjackEnvLane(GymLane):
    name, version = "gymnasium.envs.toy_text.blackjack.BlackjackEnv", "gymnasium 1.4.0"
    # Texts of the state, as numbers from 0. One that is missing ends in an error that names it.
    words = {
        "dealer_top_card_suit": ["C", "D", "H", "S"],
        "dealer_top_card_value_str": ["2", "3", "4", "5", "6", "7", "8", "9", "A", "J", "K", "Q"],
    }
    # What was seen, with room: states that the property tier puts together beyond these are refused.
    limits = {
        "dealer": (0, 104),
        "dealer_count": (0, 16),
        "player": (0, 104),
        "player_count": (0, 16),
        "dealer_top_card_suit": (0, 3),
        "dealer_top_card_value_str": (0, 11),
        "capacity": (0, 0),
    }

    def make(self, options):
        import gymnasium

        if gymnasium.__version__ != "1.4.0":
            raise RuntimeError(f"reference.toml pins gymnasium 1.4.0, here is {gymnasium.__version__}")
        return gymnasium.make('Blackjack-v1', disable_env_checker=True, **options).unwrapped

    def look(self, observation):
        return flat(observation)

    def canonical(self):
        env = self.env
        return {
            "dealer": padded(env.dealer, 16),
            "dealer_count": len(env.dealer),
            "player": padded(env.player, 16),
            "player_count": len(env.player),
            "dealer_top_card_suit": self.code('dealer_top_card_suit', env.dealer_top_card_suit),
            "dealer_top_card_value_str": self.code('dealer_top_card_value_str', env.dealer_top_card_value_str),
            "capacity": self.capacity,
        }

    def sizes(self):
        # A list that outgrows its bound ends the episode and is counted in `capacity`.
        env = self.env
        return (
            ("dealer", len(env.dealer), 16),
            ("player", len(env.player), 16),
        )

    def put(self, fields):
        env = self.env
        env.dealer = list(fields['dealer'][: fields['dealer_count']])
        env.player = list(fields['player'][: fields['player_count']])
        env.dealer_top_card_suit = self.word('dealer_top_card_suit', fields['dealer_top_card_suit'])
        env.dealer_top_card_value_str = self.word('dealer_top_card_value_str', fields['dealer_top_card_value_str'])


if __name__ == "__main__":
    lockstep_sdk.main(BlackjackEnvLane)

"""The topics that the settings name."""

from __future__ import annotations

from streamcast.app.commands.deployment.connect import topics_of
from streamcast.app.settings import Settings
from streamcast.consumers.transport import Reader, TopicMissing
from streamcast.topics.names import Topics


def require_topics(reader: Reader, settings: Settings) -> Topics:
    """Return the topics of a service; raises TopicMissing, with the setting that names it, for one that is missing."""
    topics = topics_of(settings)
    named = {
        "input.topic": topics.observations,
        "output.forecasts": topics.forecasts,
        "output.dead_letters": topics.dead_letters,
        "output.journal": topics.journal,
    }
    found = reader.describe(list(named.values()))
    for setting, topic in named.items():
        if topic not in found:
            raise TopicMissing(
                f"topic {topic!r} ({setting}) does not exist: correct the setting, or create the topic"
                " (`streamcast check --create` makes missing output topics)"
            )
    return topics

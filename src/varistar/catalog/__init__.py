"""From a promoted network and a survey to a published catalog."""

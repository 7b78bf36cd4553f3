"""The arms of the chat service as the tasks that release see them: engines, replay, watch and report."""

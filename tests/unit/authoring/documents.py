"""The three workflows of the platform's description, as they stand there without their comments."""

from typing import Any

AUTO_SAVE: dict[str, Any] = {
    "name": "Auto-save Project",
    "trigger_type": "ON_PAGE_CHANGE",
    "steps": [
        {"step_type": "VALIDATE_PAGE", "config": {"validate_json": True, "check_components": True}},
        {"step_type": "SAVE_TO_RUNTIME", "config": {"update_files": True, "backup_previous": True}},
        {"step_type": "LOG_ACTIVITY", "config": {"track_changes": True, "save_metrics": True}},
    ],
}
GENERATE: dict[str, Any] = {
    "name": "Generate Application",
    "trigger_type": "ON_PUBLISH",
    "steps": [
        {"step_type": "COMPILE_PAGES", "config": {"minify": True, "optimize_images": True}},
        {"step_type": "GENERATE_STRUCTURE", "config": {"create_routes": True, "generate_models": False}},
        {"step_type": "DEPLOY_TO_RUNTIME", "config": {"environment": "production", "rollback_enabled": True}},
        {"step_type": "NOTIFY_USER", "config": {"send_email": True, "update_status": True}},
    ],
}
CLEANUP: dict[str, Any] = {
    "name": "Cleanup Old Data",
    "trigger_type": "SCHEDULED",
    "schedule": "0 2 * * *",
    "steps": [
        {"step_type": "CLEAN_OLD_EXECUTIONS", "config": {"older_than_days": 30}},
        {"step_type": "CLEAN_TEMP_FILES", "config": {"older_than_hours": 24}},
        {"step_type": "OPTIMIZE_DATABASE", "config": {"vacuum": True, "analyze": True}},
    ],
}

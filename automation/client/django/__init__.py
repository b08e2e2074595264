"""Studio's side of Automation: a Django app that tells it of projects and pages, after each commit.

    INSTALLED_APPS += ["automation.client.django"]
    AUTOMATION_API_URL = "http://automation.internal:8000"
    AUTOMATION_API_KEY = os.environ["AUTOMATION_API_KEY"]

Further settings, each with its default (docs/client.md says more):

    AUTOMATION_PROJECT_MODEL = "studio.Project"
    AUTOMATION_PAGE_MODEL = "studio.Page"
    AUTOMATION_PROJECT_DATA = "automation.client.django.data.project_data"
    AUTOMATION_PAGE_DATA = "automation.client.django.data.page_data"
"""

from automation.client.django.outbox import flush, send

__all__ = ["flush", "send"]

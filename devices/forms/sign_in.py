"""The form to sign in."""

from typing import Any

from allauth.account.forms import LoginForm
from django.utils.translation import gettext_lazy

from devices.forms.names import EmailField


class SignInForm(LoginForm):  # type: ignore[misc]
    """The library's, which speaks of "email" and repeats the label within the field."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        login = self.fields["login"]
        login.label = gettext_lazy("E-mail address")
        login.error_messages |= EmailField.default_error_messages
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)
